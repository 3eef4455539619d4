"""Minimise the peak of one pool: first fits, then exhaustive searches that probe the lower bound first."""

from __future__ import annotations

from contextlib import suppress

from memory_planner import native
from memory_planner.first_fit import count_conflicts
from memory_planner.incumbent import Incumbent
from memory_planner.layout import Layout, bound_load
from memory_planner.local_search import OrderSearch
from memory_planner.native import Alarm, Int64s, StoppedError
from memory_planner.options import SearchOptions
from memory_planner.plan import Attempt
from memory_planner.portfolio import LARGE, QUICK, try_baselines, try_first_fits
from memory_planner.scheduling import Scheduler

EXACT_LIMIT = 40_000_000  # pairs of neighbours; above, the exact search takes seconds to begin and places too slowly


def minimise_peak(
    layout: Layout,
    alarm: Alarm,
    options: SearchOptions,
    start: Int64s | None = None,
    capacity: int | None = None,
    turns: int | None = None,
) -> Incumbent:
    """Pack until the bound is met or the alarm rings.

    Args:
        start: a valid packing to begin with.
        capacity: stop at this peak, in units, once the bound has been probed; None goes on to the smallest.
        turns: stop after so many searches; None goes on until the alarm.
    """
    best = Incumbent(layout, bound_load(layout), capacity=capacity)
    if layout.count == 0:
        best.peak = 0
        return best
    if start is not None:
        best.offer("given", start, "", 0.0)
    quick = layout.count <= QUICK
    if quick:
        try_first_fits(best, None, options)
    if best.closed:
        return best
    with alarm, suppress(StoppedError):
        if not quick:
            try_first_fits(best, alarm, options)
        if native.is_available():
            improve(best, alarm, options, turns)
    if quick and turns is None and native.is_available() and not (best.closed or best.fits or best.baselines_asked):
        try_baselines(best, None)
    return best


def improve(best: Incumbent, alarm: Alarm, options: SearchOptions, turns: int | None) -> None:
    """From first fits on; of large problems mostly by re-ordering.

    Raises:
        StoppedError: the alarm rang.
    """
    orders = OrderSearch(best) if options.local_search else None
    large = best.layout.count > LARGE
    steps = float("inf") if turns is None else turns
    if large and not (best.closed or best.fits):
        try_baselines(best, alarm)
        if orders is not None:
            with alarm.within(0.8 * alarm.seconds_left) as early, suppress(StoppedError):
                orders.run(early, steps)
    if options.exact and not best.closed and int(count_conflicts(best.layout).sum()) <= EXACT_LIMIT:
        search_exactly(best, alarm, options, None if large else orders, turns)
    if orders is not None and not best.fits:
        orders.run(alarm, steps)


def search_exactly(
    best: Incumbent, alarm: Alarm, options: SearchOptions, orders: OrderSearch | None, turns: int | None
) -> None:
    """Decide at the bound, then between bound and incumbent, until they meet."""
    try:
        scheduler = Scheduler(best, alarm, options, orders)
        if not best.closed:
            scheduler.run(turns)
    except MemoryError as error:
        best.tried.append(Attempt("search", None, str(error)))
