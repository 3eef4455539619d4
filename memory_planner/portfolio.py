"""First fits in many orders, and what other tools would answer."""

from __future__ import annotations

import time

from memory_planner.baselines import BASELINES, WITHOUT_PINS, plan_usmp_hill
from memory_planner.first_fit import ORDERS, place_in_order
from memory_planner.incumbent import Incumbent
from memory_planner.native import Alarm
from memory_planner.options import SearchOptions

QUICK = 500  # buffers; up to here every cheap baseline is tried, whatever the deadline says: milliseconds
LARGE_FIRST = ("sections_duration", "crowding_size")  # best on all large instances measured
SLOW_BASELINES = 3000  # buffers; above, the baselines written in Python are left out


def try_first_fits(best: Incumbent, deadline: float, options: SearchOptions) -> None:
    """The portfolio; it stops at the bound, and past the deadline once there is one packing of a large problem."""
    layout = best.layout
    names = list(ORDERS) if options.first_fits else ["size"]
    if options.first_fits and layout.count > SLOW_BASELINES:
        names.sort(key=lambda name: name not in LARGE_FIRST)  # seconds each: the best come first
    for name in names:
        for best_fit in (False, True):
            cpu = time.process_time()
            _, offset = place_in_order(layout, ORDERS[name](layout), best_fit)
            best.offer(f"{'best' if best_fit else 'first'}_fit_{name}", offset, "", time.process_time() - cpu)
            if best.closed or (layout.count > QUICK and time.perf_counter() > deadline):
                return


def try_baselines(best: Incumbent, alarm: Alarm | None) -> None:
    """What other tools would answer: never be worse. Without an alarm only those that take a moment."""
    best.baselines_asked = True
    pinned = bool((best.layout.pin >= 0).any())
    for name, plan in BASELINES.items():
        if name.startswith(("ff_", "tflm", "xla_")) or (pinned and name in WITHOUT_PINS):
            continue  # the first are in the portfolio already
        if best.closed or (alarm is not None and alarm.rang):
            return
        if plan is plan_usmp_hill and alarm is None:
            continue
        cpu = time.process_time()
        _, offset = plan_usmp_hill(best.layout, alarm=alarm) if plan is plan_usmp_hill else plan(best.layout)
        best.offer(name, offset, "", time.process_time() - cpu)
