"""Minimise the peak of one pool: first fits, then exhaustive searches that probe the lower bound first."""

from __future__ import annotations

import time

from memory_planner import native
from memory_planner.incumbent import Incumbent
from memory_planner.layout import Layout, bound_load
from memory_planner.local_search import improve_order
from memory_planner.native import Alarm, Int64s
from memory_planner.options import SearchOptions
from memory_planner.plan import Attempt
from memory_planner.portfolio import QUICK, try_baselines, try_first_fits
from memory_planner.scheduling import Scheduler

LARGE = 3000  # buffers; above, re-ordering comes first and has most of the time
EXACT_LIMIT = 25_000  # buffers; above, one placement of the exact search costs too much


def minimise_peak(
    layout: Layout,
    deadline: float,
    options: SearchOptions,
    start: Int64s | None = None,
    capacity: int | None = None,
) -> Incumbent:
    """Pack until the bound is met or the deadline (of time.perf_counter) passes.

    Args:
        start: a valid packing to begin with.
        capacity: stop at this peak, in units, once the bound has been probed; None goes on to the smallest.
    """
    best = Incumbent(layout, bound_load(layout), capacity=capacity)
    if layout.count == 0:
        best.peak = 0
        return best
    if start is not None:
        best.offer("given", start, "", 0.0)
    try_first_fits(best, deadline, options)
    if best.closed or not native.is_available():
        return best
    if options.local_search and layout.count > LARGE and not best.fits:
        with Alarm((deadline - time.perf_counter()) * 0.8) as alarm:
            improve_order(best, alarm)
    with Alarm(deadline - time.perf_counter()) as alarm:
        if options.exact and layout.count <= EXACT_LIMIT and not best.closed:
            search_exactly(best, alarm, options)
        if not best.baselines_asked and layout.count <= QUICK:
            try_baselines(best, None)
        if options.local_search and not best.closed and not best.fits and not alarm.rang:
            improve_order(best, alarm)
    return best


def search_exactly(best: Incumbent, alarm: Alarm, options: SearchOptions) -> None:
    """Decide at the bound, then between bound and incumbent, until they meet."""
    try:
        scheduler = Scheduler(best, alarm, options)
        if not best.closed:
            scheduler.run()
    except MemoryError as error:
        best.tried.append(Attempt("search", None, str(error)))
