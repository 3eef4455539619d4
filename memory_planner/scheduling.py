"""Which exhaustive search runs when, at which capacity and for how long."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from memory_planner import native
from memory_planner.incumbent import Incumbent
from memory_planner.local_search import OrderSearch
from memory_planner.native import Alarm, Instance, Int64s, Search
from memory_planner.options import TECHNIQUES, SearchOptions
from memory_planner.portfolio import try_baselines

CLASSIC = 5  # of the core's strategies, see planner.h
# Orders of trial, see planner.h: D length of life, V size times it, T load of the fullest section, W and A the same in
# sections, S size, L birth, U death. Nearly all that is solved is solved by D or T first.
KEYS = ("TDV", "TDV", "DV", "DV", "TVD", "TVD", "TUD", "V", "WA", "TLD", "A")
CLASSIC_KEYS = ("TDV", "DVT", "TVD")
# Where between bound and incumbent the trials aim, in 64ths; 63 is just below the incumbent.
AIMS = (16, 24, 63, 12, 32, 16, 0, 20, 40, 24, 63, 8, 28)
CHASE = (20, 36, 48, 58)  # where the recipe of an improvement aims next, until it fails at the last
BOUND_TRIALS = 48  # at the bound alone before the trials spread out
FITTING_TRIALS = 16  # of them, where a peak that fits is enough
TRIAL_NODES = 1000
# Every so many turns, so many placements in new orders: a smaller peak, which later trials aim below.
ELSEWHERE_TURNS, ELSEWHERE_STEPS = 4, 50


@dataclass(frozen=True)
class Recipe:
    """How a search branches: strategy and orders of the core, see planner.h."""

    strategy: int
    weights: bool
    keys: str


# In the order of their measured worth; every one meets every order of KEYS, as their counts have no common divisor.
STRATEGIES = ((1, True), (5, False), (1, False), (0, True), (3, True), (4, False), (2, True), (3, False), (2, False))


@dataclass
class Job:
    """Placements to be spent on a search; recipe is None for a search that is never restarted."""

    search: Search
    nodes: int
    name: str
    recipe: Recipe | None = None


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


def luby(i: int) -> int:
    """1 1 2 1 1 2 4 ...: restarts that lose at most a logarithm against the best fixed budget."""
    while True:
        k = i.bit_length()
        if i == (1 << k) - 1:
            return 1 << (k - 1)
        i -= (1 << (k - 1)) - 1


class Scheduler:
    """Runs trials in rounds of one a thread; results are taken in order, so that threads cannot change the answer.

    Trials take turns: short ones at the bound, then spread between bound and incumbent, with budgets by Luby's
    sequence; now and then the searches that are never restarted, which end with a packing or with a proof. The recipe
    of an improvement goes on at once, at lower aims.
    """

    def __init__(self, best: Incumbent, alarm: Alarm, options: SearchOptions, orders: OrderSearch | None) -> None:
        self.best = best
        self.orders = orders
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
        self.lanes: dict[int, Job] = {}
        self.quick = max(TRIAL_NODES, 5 * len(p))
        self.patient = max(TRIAL_NODES, 12 * len(p))
        self.slice = 2000 if len(p) < 1000 else 64
        self.turn = 0
        self.elsewhere = 1
        self.trial = 0
        self.chased = 0
        self.chase: list[tuple[Recipe, int]] = []  # recipe and aim, the next one last

    def aim(self, part: int) -> int:
        """The capacity at `part` 64ths between bound and incumbent."""
        low, high = self.best.bound, self.best.peak - 1
        return high if part == 63 else low + (high - low) * part // 64

    def search(self, capacity: int, recipe: Recipe, seed: int) -> Search:
        mask = self.options.mask if recipe.weights else self.options.mask & ~TECHNIQUES["weights"]
        return Search(self.instance, capacity, recipe.strategy, recipe.keys, seed, mask)

    def next_trial(self) -> Job:
        """The next search of the sequence, or of the chase after an improvement."""
        if self.chase:
            recipe, part = self.chase.pop()
            self.chased += 1
            name = f"chase_{recipe.strategy}{recipe.keys}{self.chased}"
            return Job(self.search(self.aim(part), recipe, self.chased), 2 * self.patient, name, recipe)
        number = self.trial
        self.trial += 1
        strategy, weights = STRATEGIES[number % len(STRATEGIES)] if self.options.sections else (CLASSIC, False)
        recipe = Recipe(strategy, weights, KEYS[number % len(KEYS)])
        early = number < BOUND_TRIALS
        part = 63 if not self.options.bound_first else 0 if early else AIMS[number % len(AIMS)]
        nodes = (self.quick if early else self.patient) * luby(number // len(STRATEGIES) + 1)
        capacity = self.aim(part)
        if self.best.capacity is not None and number % 2 and self.best.bound <= self.best.capacity < self.best.peak:
            capacity = self.best.capacity
        return Job(self.search(capacity, recipe, number), nodes, f"trial_{strategy}{recipe.keys}{number}", recipe)

    def next_lane(self, turn: int) -> Job:
        """A search at the bound that is never restarted, by two recipes in turn."""
        slot = turn % 2 if self.options.sections else turn % 3
        strategy = slot if self.options.sections else CLASSIC
        keys = ("TDV", "DVT")[slot] if self.options.sections else CLASSIC_KEYS[slot]
        lane = self.lanes.get(slot)
        if lane is None or not self.best.bound <= lane.search.capacity < self.best.peak:
            search = self.search(self.best.bound, Recipe(strategy, True, keys), 0)
            lane = self.lanes[slot] = Job(search, self.patient, f"search_{strategy}{keys}")
        return lane

    def next_round(self) -> list[Job]:
        """One job a thread."""
        jobs: list[Job] = []
        for _ in range(max(1, self.options.threads)):
            if not self.options.restarts or self.turn % (5 if self.turn < 100 else 25) == 4:
                lane = self.next_lane(self.turn // 5 if self.options.restarts else self.turn)
                if lane not in jobs:
                    jobs.append(lane)
            else:
                jobs.append(self.next_trial())
            self.turn += 1
        return jobs

    def run(self, turns: int | None) -> None:
        """Rounds until the gap is closed, the alarm rings or so many turns are over."""
        with ThreadPoolExecutor(max(1, self.options.threads)) as pool:
            while not self.is_over(turns):
                jobs = self.next_round()
                cpu = time.process_time()
                verdicts = [self.run_slices(jobs[0])] if len(jobs) == 1 else list(pool.map(self.run_slices, jobs))
                cpu = time.process_time() - cpu
                for job, verdict in zip(jobs, verdicts, strict=True):
                    self.settle(job, verdict, cpu / len(jobs))
                if not self.best.fits:
                    self.look_elsewhere()

    def is_over(self, turns: int | None) -> bool:
        if self.best.closed or self.alarm.rang or (self.best.fits and self.trial > FITTING_TRIALS):
            return True
        return turns is not None and self.turn >= turns

    def look_elsewhere(self) -> None:
        """The baselines once, then other orders of first fit now and then.

        Raises:
            StoppedError: the alarm rang.
        """
        if self.turn < ELSEWHERE_TURNS * self.elsewhere:
            return
        if not self.best.baselines_asked:
            try_baselines(self.best, self.alarm)
        if self.orders is not None:
            self.orders.run(self.alarm, ELSEWHERE_STEPS)
        self.elsewhere += 1

    def run_slices(self, job: Job) -> int:
        """Run in slices, so that a signal is seen between them."""
        verdict = native.RUNNING
        end = job.search.nodes + job.nodes
        while verdict == native.RUNNING and job.search.nodes < end and not self.alarm.rang:
            verdict = job.search.run(min(self.slice, end - job.search.nodes), self.alarm)
        return verdict

    def settle(self, job: Job, verdict: int, cpu: float) -> None:
        search = job.search
        if verdict == native.FOUND:
            offset = self.best.offset.copy()
            offset[self.picked] = search.offsets()
            note = f"aimed at {search.capacity * self.best.layout.unit}, {search.nodes} placements"
            if self.best.offer(job.name, offset, note, cpu) and job.recipe is not None and not self.best.fits:
                self.chase = [(job.recipe, part) for part in reversed(CHASE)]
        elif verdict == native.NONE:
            self.best.raise_bound(search.capacity + 1, job.name, cpu)
