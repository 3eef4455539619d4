"""First fits in many orders, and what other tools would answer."""

from __future__ import annotations

import time
from contextlib import suppress

from memory_planner.baselines import BASELINES, WITHOUT_PINS
from memory_planner.first_fit import ORDERS, place_in_order
from memory_planner.incumbent import Incumbent
from memory_planner.native import Alarm, StoppedError
from memory_planner.options import SearchOptions

QUICK = 500  # buffers; up to here everything is tried, whatever the deadline says: a tenth of a second
LARGE = 3000  # buffers; above, one placement takes long and the exact search can do little
LARGE_FIRST = ("birth", "sections_duration", "crowding_size")  # the fastest, then the best on the large ones measured


def try_first_fits(best: Incumbent, alarm: Alarm | None, options: SearchOptions) -> None:
    """The portfolio, until the bound is met; the first packing comes whatever the alarm says.

    Raises:
        StoppedError: the alarm rang.
    """
    layout = best.layout
    names = list(ORDERS) if options.first_fits else ["size"]
    if options.first_fits and layout.count > LARGE:
        names.sort(key=lambda name: LARGE_FIRST.index(name) if name in LARGE_FIRST else len(LARGE_FIRST))
    for name in names:
        for best_fit in (False, True):
            cpu = time.process_time()
            _, offset = place_in_order(layout, ORDERS[name](layout), best_fit, alarm if len(best.offset) else None)
            best.offer(f"{'best' if best_fit else 'first'}_fit_{name}", offset, "", time.process_time() - cpu)
            if best.closed:
                return


def try_baselines(best: Incumbent, alarm: Alarm | None) -> None:
    """What other tools would answer: never be worse. Of large problems none takes all of the time left, of small ones
    all are asked whatever the alarm says.
    """
    best.baselines_asked = True
    if best.layout.count <= QUICK:
        alarm = None
    pinned = bool((best.layout.pin >= 0).any())
    share = 0.5 if best.layout.count <= LARGE else 0.125
    for name, plan in BASELINES.items():
        if name.startswith(("ff_", "tflm", "xla_")) or (pinned and name in WITHOUT_PINS):
            continue  # the first are in the portfolio already
        if best.closed or (alarm is not None and alarm.rang):
            return
        cpu = time.process_time()
        with suppress(StoppedError):
            if alarm is None:
                _, offset = plan(best.layout, None)
            else:
                with alarm.within(share * alarm.seconds_left) as part:
                    _, offset = plan(best.layout, part)
            best.offer(name, offset, "", time.process_time() - cpu)
