"""Whether reading the next layer's experts ahead pays: a trace's guesses against the time that a board has for them."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmoe_embed.paging.cost import Times
from mmoe_embed.paging.placed import PlacedCache

_LEAST_GAIN = 0.01  # reading ahead must save more of the stall than this


@dataclasses.dataclass(frozen=True)
class Turn:
    """A layer's turn of a token: what it needs, and what was guessed of it."""

    layer: int
    experts: list[int]
    starts_token: bool
    guesses: list[int]  # the likeliest first


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What reading ahead does, expected from a trace and a board's times; means over tokens.

    Attributes:
        prefetch: experts guessed for each layer; 0: none.
        hit_rate: 0..1, of uses of experts that were loaded when their layer routed, or that need no slot.
        stall_us: of a token, compute beside it.
        reads: of a token, those ahead too.
        unused: of a token, pages read ahead that were evicted or left before anything needed them.
    """

    prefetch: int
    hit_rate: float
    stall_us: float
    reads: float
    unused: float


def forecast(turns: Iterable[Turn], first: int, cache: PlacedCache, times: Times, prefetch: int) -> Forecast:
    """Run a trace against a clock.

    The order of work is the runtime's: at a layer's routing its misses are queued; the shared expert is computed, then
    the experts that are there, then each of the others when it has arrived. One page is read at a time; guesses come
    after misses, and what was not started when the next layer routes is forgotten.

    Args:
        turns: in order, one token at a time.
        first: number of the turn from which on everything is counted.
        cache: empty, of the plan.
        times: of the board.
        prefetch: guesses of each layer that are read ahead.
    """
    clock = _Clock(cache, times)
    counted = 0
    for number, turn in enumerate(turns):
        if number == first:
            clock.clear()
            counted = 0
        counted += turn.starts_token
        clock.run(turn, prefetch)
    tokens = max(1, counted)
    hit_rate = 1 - clock.late / max(1, clock.uses)
    unused = (clock.ahead - clock.wanted) / tokens
    return Forecast(prefetch, hit_rate, clock.stall / tokens, clock.reads / tokens, unused)


def choose_prefetch(forecasts: Sequence[Forecast]) -> int:
    """The forecast with the least stall; the one without prefetch where none saves more than a hundredth of it."""
    best = min(forecasts, key=lambda forecast: (forecast.stall_us, forecast.prefetch))
    plain = next(forecast for forecast in forecasts if forecast.prefetch == 0)
    return best.prefetch if best.stall_us < (1 - _LEAST_GAIN) * plain.stall_us else 0


class _Page(NamedTuple):
    """What a turn needs."""

    arrival: float | None  # when it is there to be checked; None: it was checked at an earlier use
    late: bool  # it was not there when the layer routed


class _Clock:
    def __init__(self, cache: PlacedCache, times: Times) -> None:
        self._cache, self._times = cache, times
        self._now = self._routed = self._idle_from = 0.0  # of the core; its last routing; of the flash
        self._before: list[int] = []  # experts of the turn before
        self._arrivals: dict[int, float] = {}  # of pages read ahead that nothing has used
        self.clear()

    def clear(self) -> None:
        """Count from here."""
        self.stall = 0.0
        self.uses = self.late = self.reads = self.ahead = self.wanted = 0

    def run(self, turn: Turn, prefetch: int) -> None:
        """From the end of the turn before to that of this one."""
        self._now += self._times.layer + (self._times.head if turn.starts_token else 0.0)
        self._read_ahead(turn, prefetch)
        self._cache.access(turn.layer, turn.experts, turn.starts_token)
        self._routed, self._before = self._now, turn.experts
        due = self._load(turn.experts, set(self._cache.missing))
        self.uses += len(due)
        self._now += self._times.shared
        for late in (False, True):
            for arrival in (page.arrival for page in due if page.late == late):
                self.late += late
                self._compute(arrival)

    def _read_ahead(self, turn: Turn, prefetch: int) -> None:
        """What was guessed when the layer before routed, as far as reads could start before this one does."""
        start, kept = max(self._idle_from, self._routed), list(self._before)
        for expert in turn.guesses[:prefetch]:
            if start >= self._now:
                return
            if self._cache.read_ahead(turn.layer, expert, kept):
                kept.append(expert)
                self._idle_from = self._arrivals[expert] = start = start + self._times.read
                self.ahead += 1
                self.reads += 1

    def _load(self, experts: list[int], missing: set[int]) -> list[_Page]:
        """Queue the reads of what is missing."""
        due = []
        for expert in experts:
            arrival = self._arrivals.pop(expert, None)
            if expert in missing:
                arrival = self._idle_from = max(self._idle_from, self._routed) + self._times.read
                self.reads += 1
            elif arrival is not None:
                self.wanted += 1
            late = expert in missing or (arrival is not None and arrival > self._routed)
            due.append(_Page(arrival, late))
        return due

    def _compute(self, arrival: float | None) -> None:
        """One expert; what of its page is there is checked while the rest arrives."""
        if arrival is not None:
            idle = max(0.0, arrival - self._now)
            early = min(idle, self._times.check_early)
            self.stall += idle - early
            self._now += idle + self._times.check - early
        self._now += self._times.expert
