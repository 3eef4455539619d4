"""Minimise the peak of one pool: first fits, then exhaustive searches that probe the lower bound first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from memory_planner import native
from memory_planner.baselines import BASELINES, WITHOUT_PINS, plan_usmp_hill
from memory_planner.first_fit import ORDERS, place_in_order
from memory_planner.layout import Layout, bound_load
from memory_planner.local_search import improve_order
from memory_planner.native import Alarm, Instance, Int64s, Search
from memory_planner.options import TECHNIQUES, SearchOptions
from memory_planner.plan import Attempt

# Strategies of the core, see planner.h; (strategy, weights on) in the order of their measured worth.
STRATEGIES = ((1, True), (5, False), (1, False), (0, True), (3, True), (4, False), (2, True), (3, False), (2, False))
CLASSIC = 5
# Orders of trial, see planner.h: D length of life, V size times it, T load of the fullest section, W and A the same in
# sections, S size, L birth, U death. Nearly all that is solved is solved by D or T first.
KEYS = ("TDV", "TDV", "DV", "DV", "TVD", "TVD", "TUD", "V", "WA", "TLD", "A")
CLASSIC_KEYS = ("TDV", "DVT", "TVD")
# Where between bound and incumbent the trials aim, in 64ths; 63 is just below the incumbent.
AIMS = (16, 24, 63, 12, 32, 16, 0, 20, 40, 24, 63, 8, 28)
BOUND_TRIALS = 48  # at the bound alone before the trials spread out
TRIAL_NODES = 1000
QUICK = 500  # buffers; up to here every cheap baseline is tried, whatever the deadline says: milliseconds
SLOW_BASELINES = 3000  # buffers; above, the baselines written in Python are left out
LARGE = 3000  # buffers; above, re-ordering comes first and has most of the time
EXACT_LIMIT = 25_000  # buffers; above, one placement of the exact search costs too much


@dataclass
class Incumbent:
    """The best packing so far, the best bound, and what was tried. Units throughout."""

    layout: Layout
    bound: int
    peak: int = 2**62
    offset: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    tried: list[Attempt] = field(default_factory=list)
    baselines_asked: bool = False

    @property
    def closed(self) -> bool:
        return self.peak <= self.bound

    def offer(self, method: str, offset: Int64s, note: str, cpu: float) -> bool:
        """Take a packing if it is better; the attempt is written down either way."""
        peak = self.layout.peak(offset)
        self.tried.append(Attempt(method, peak * self.layout.unit, note, cpu))
        if peak >= self.peak:
            return False
        self.peak, self.offset = peak, offset
        return True

    def raise_bound(self, bound: int, method: str, cpu: float) -> None:
        if bound > self.bound:
            self.bound = bound
            note = f"nothing below {bound * self.layout.unit}"
            self.tried.append(Attempt(method, None, note, cpu))


def minimise_peak(layout: Layout, deadline: float, options: SearchOptions, start: Int64s | None = None) -> Incumbent:
    """Pack until the bound is met or the deadline (of time.perf_counter) passes.

    Args:
        start: a valid packing to begin with.
    """
    best = Incumbent(layout, bound_load(layout))
    if layout.count == 0:
        best.peak = 0
        return best
    if start is not None:
        best.offer("given", start, "", 0.0)
    try_first_fits(best, deadline, options)
    if best.closed or not native.is_available():
        return best
    if options.local_search and layout.count > LARGE:
        with Alarm((deadline - time.perf_counter()) * 0.8) as alarm:
            improve_order(best, alarm)
    with Alarm(deadline - time.perf_counter()) as alarm:
        if options.exact and layout.count <= EXACT_LIMIT and not best.closed:
            search_exactly(best, alarm, options)
        if not best.baselines_asked and layout.count <= QUICK:
            try_baselines(best, None)
        if options.local_search and not best.closed and not alarm.rang:
            improve_order(best, alarm)
    return best


def try_first_fits(best: Incumbent, deadline: float, options: SearchOptions) -> None:
    """The portfolio; it stops at the bound, and past the deadline once there is one packing of a large problem."""
    layout = best.layout
    names = list(ORDERS) if options.first_fits else ["size"]
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


def crowded_part(best: Incumbent) -> Int64s:
    """Storages in independent time ranges whose packing is not yet at the bound; the others are settled."""
    layout = best.layout
    order = np.argsort(layout.lower, kind="stable")
    reach = np.maximum.accumulate(layout.upper[order])
    cut = np.concatenate([[True], layout.lower[order][1:] >= reach[:-1]])
    part = np.cumsum(cut) - 1
    tops = np.zeros(part[-1] + 1, np.int64)
    np.maximum.at(tops, part, (best.offset + layout.size)[order])
    return np.sort(order[tops[part] > best.bound])


def trials(options: SearchOptions) -> Iterator[tuple[int, int, str, int, bool]]:
    """(number, strategy, keys, nodes, weights) for ever: strategies in turn, budgets by Luby's sequence."""
    number = 0
    while True:
        strategy, weights = STRATEGIES[number % len(STRATEGIES)] if options.sections else (CLASSIC, False)
        # every strategy meets every order: their counts have no common divisor
        yield number, strategy, KEYS[number % len(KEYS)], luby(number // len(STRATEGIES) + 1), weights
        number += 1


def luby(i: int) -> int:
    """1 1 2 1 1 2 4 ...: restarts that lose at most a logarithm against the best fixed budget."""
    while True:
        k = i.bit_length()
        if i == (1 << k) - 1:
            return 1 << (k - 1)
        i -= (1 << (k - 1)) - 1


@dataclass
class Lane:
    """A search that is never restarted: it ends with a packing or with the proof that there is none."""

    search: Search
    name: str


class Scheduler:
    """Runs trials in rounds of one a thread; results are taken in order, so that threads cannot change the answer."""

    def __init__(self, best: Incumbent, alarm: Alarm, options: SearchOptions) -> None:
        self.best = best
        self.alarm = alarm
        self.options = options
        self.picked = crowded_part(best)
        x, p = best.layout, self.picked
        self.instance = Instance(
            x.lower[p],
            x.upper[p],
            x.size[p],
            x.alignment[p],
            x.pin[p],
            x.span[p],
            options.memory_limit_bytes,
            options.mask,
        )
        best.raise_bound(self.instance.load, "load", 0.0)
        self.lanes: dict[int, Lane] = {}
        self.quick = max(TRIAL_NODES, 5 * len(p))
        self.patient = max(TRIAL_NODES, 12 * len(p))
        self.slice = 2000 if len(p) < 1000 else 64

    def mask(self, weights: bool) -> int:
        return self.options.mask if weights else self.options.mask & ~TECHNIQUES["weights"]

    def aim(self, number: int) -> int:
        """The capacity that a trial tries."""
        low, high = self.best.bound, self.best.peak - 1
        if self.options.bound_first and number < BOUND_TRIALS:
            return low
        part = AIMS[number % len(AIMS)] if self.options.bound_first else 63
        return high if part == 63 else low + (high - low) * part // 64

    def run_slices(self, search: Search, nodes: int) -> int:
        """Run in slices, so that a signal is seen between them."""
        verdict = native.RUNNING
        end = search.nodes + nodes
        while verdict == native.RUNNING and search.nodes < end and not self.alarm.rang:
            verdict = search.run(min(self.slice, end - search.nodes), self.alarm)
        return verdict

    def settle(self, search: Search, verdict: int, name: str, cpu: float) -> None:
        if verdict == native.FOUND:
            offset = self.best.offset.copy()
            offset[self.picked] = search.offsets()
            note = f"aimed at {search.capacity * self.best.layout.unit}, {search.nodes} placements"
            self.best.offer(name, offset, note, cpu)
        elif verdict == native.NONE:
            self.best.raise_bound(search.capacity + 1, name, cpu)

    def lane(self, turn: int) -> Lane:
        """The unrestarted search of this turn: at the bound by two strategies, and just below the incumbent."""
        slot = turn % 2
        strategy = (0 if slot == 0 else 1) if self.options.sections else CLASSIC
        keys = ("TDV", "DVT")[slot] if self.options.sections else CLASSIC_KEYS[turn % 3]
        key = slot if self.options.sections else turn % 3
        lane = self.lanes.get(key)
        if lane is None or not self.best.bound <= lane.search.capacity < self.best.peak:
            search = Search(self.instance, self.best.bound, strategy, keys, 0, self.options.mask)
            lane = self.lanes[key] = Lane(search, f"search_{strategy}{keys}")
        return lane

    def run(self) -> None:
        """Trials until the gap is closed or the alarm rings."""
        threads = max(1, self.options.threads)
        source = trials(self.options)
        turn = 0
        with ThreadPoolExecutor(threads) as pool:
            while not self.best.closed and not self.alarm.rang:
                jobs: list[tuple[Search, int, str]] = []
                for _ in range(threads):
                    if not self.options.restarts or turn % (5 if turn < 100 else 25) == 4:
                        lane = self.lane(turn // 5 if self.options.restarts else turn)
                        if all(lane.search is not job[0] for job in jobs):
                            jobs.append((lane.search, self.patient, lane.name))
                    else:
                        number, strategy, keys, budget, weights = next(source)
                        search = Search(self.instance, self.aim(number), strategy, keys, number, self.mask(weights))
                        nodes = self.quick if number < BOUND_TRIALS else self.patient
                        jobs.append((search, nodes * budget, f"trial_{strategy}{keys}{number}"))
                    turn += 1
                self.run_round(pool, jobs)
                if turn > BOUND_TRIALS and not self.best.baselines_asked and self.best.layout.count <= SLOW_BASELINES:
                    try_baselines(self.best, self.alarm)

    def run_round(self, pool: ThreadPoolExecutor, jobs: list[tuple[Search, int, str]]) -> None:
        cpu = time.process_time()
        if len(jobs) == 1:
            verdicts = [self.run_slices(jobs[0][0], jobs[0][1])]
        else:
            verdicts = list(pool.map(lambda job: self.run_slices(job[0], job[1]), jobs))
        cpu = time.process_time() - cpu
        for (search, _, name), verdict in zip(jobs, verdicts, strict=True):
            self.settle(search, verdict, name, cpu / len(jobs))


def search_exactly(best: Incumbent, alarm: Alarm, options: SearchOptions) -> None:
    """Decide at the bound, then between bound and incumbent, until they meet."""
    try:
        scheduler = Scheduler(best, alarm, options)
        if not best.closed:
            scheduler.run()
    except MemoryError as error:
        best.tried.append(Attempt("search", None, str(error)))
