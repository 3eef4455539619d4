"""What a plan decides about experts from a routing trace, so that the predicted stall of a token is smallest."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmoe_embed.config import ModelConfig
from mmoe_embed.errors import UsageError
from mmoe_embed.paging.belady import BeladyCache
from mmoe_embed.paging.cost import ExpertCost, Times
from mmoe_embed.paging.placed import PlacedCache
from mmoe_embed.paging.placement import IN_PLACE, Placement
from mmoe_embed.paging.prefetch import Forecast, Turn, choose_prefetch, forecast
from mmoe_embed.paging.promise import Promise
from mmoe_embed.paging.replay import RUNTIME_POLICIES, Batch, list_batches
from mmoe_embed.paging.trace import NO_GUESS, Trace, read_trace

_SHARES = (0.25, 0.5, 0.75, 1.0)  # of the slots, or of the experts, that are tried as residents or in place
_LEAST_GAIN = 0.01  # a more special plan must stall less by more than this

Uses = npt.NDArray[np.int64]  # (layers, experts)


@dataclasses.dataclass(frozen=True)
class Workload:
    """A routing trace to plan for; its digest stands for it."""

    name: str
    sha256: str
    trace: Trace = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The decisions, and what they promise."""

    policy: str
    placement: Placement
    promise: Promise | None  # None without a workload


@dataclasses.dataclass(frozen=True)
class _Outcome:
    tokens: int
    uses: int
    misses: int
    in_place: int

    def stall(self, cost: ExpertCost) -> float:
        """A token's, in microseconds, or in reads where those are all that is known."""
        load = 1.0 if cost.load_us is None else cost.load_us
        return (self.misses * load + self.in_place * (cost.in_place_us or 0.0)) / max(1, self.tokens)


def read_workload(path: Path) -> Workload:
    """A trace from its file.

    Raises:
        ToolkitError: no such file, or no trace.
    """
    return Workload(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), read_trace(path))


def choose_placement(
    workload: Workload,
    config: ModelConfig,
    slots: int,
    cost: ExpertCost,
    *,
    policy: str | None = None,
    prefetch: int | None = None,
    cache_margin: float = 0.0,
) -> Choice:
    """Choose policy, residents, experts in place and the division of the slots.

    What is learned from the trace (residents, in place, slots of a layer) is learned from its first half and judged on
    its second, with the cache warm from the first; only then is it learned anew from all of it. So a hot list that does
    not transfer is not taken. The promise is that of the second half too.

    Args:
        workload: what to plan for.
        config: of the model.
        slots: in all, at least top-k + 1 and fewer than there are experts.
        cost: of reads and of use in place.
        policy: the user's; None tries all of the runtime.
        prefetch: the user's; None takes what pays, where the trace has guesses and the board's times are known.
        cache_margin: passed on; with it nothing is read ahead.

    Raises:
        UsageError: the trace is of another model.
    """
    trace = workload.trace
    _check_shape(trace, config)
    experts = config.num_experts
    batches = _renumber(trace, experts)
    half = _second_half(batches)
    learned, whole = (_count_uses(part, config) for part in (batches[:half], batches))
    candidates = [
        (name, plan, _judge(batches, half, _make_cache(name, config, slots, plan.make(learned))))
        for plan in _list_candidates(config, slots, cost)
        for name in (RUNTIME_POLICIES if policy is None else (policy,))
    ]
    enough = (1 + _LEAST_GAIN) * min(outcome.stall(cost) for _, _, outcome in candidates)
    name, plan, outcome = next(found for found in candidates if found[2].stall(cost) <= enough)
    forecasts = _forecast(
        trace, batches, half, config, lambda: _make_cache(name, config, slots, plan.make(learned)), cost.times
    )
    if prefetch is None:
        prefetch = choose_prefetch(forecasts) if forecasts and not cache_margin else 0
    placement = dataclasses.replace(plan.make(whole), prefetch=prefetch, cache_margin=cache_margin)
    cycle = len(config.routed_layers) * config.num_experts_per_tok
    chosen = next((told for told in forecasts if told.prefetch == prefetch), None)
    late = float(outcome.misses) if not prefetch or chosen is None else outcome.uses * (1 - chosen.hit_rate)
    promise = Promise(
        workload.name,
        workload.sha256,
        outcome.tokens,
        1 - (late + outcome.in_place) / max(1, outcome.uses),
        late / max(1, outcome.tokens),
        outcome.in_place / max(1, outcome.tokens),
        outcome.stall(cost) if cost.load_us is not None else None,
        _bound(batches, half, config, slots),
        slots < cycle,
        prefetch,
        None if chosen is None else chosen.stall_us,
        forecasts,
    )
    return Choice(name, placement, promise)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A placement in words: made once from what half of a trace says, and once from all of it.

    Attributes:
        residents: how many of the most used.
        in_place: how many of the least used.
        split: "" shares the slots, "even" gives each layer as many, "demand" as its distinct experts ask for.
    """

    residents: int = 0
    in_place: int = 0
    split: str = ""
    slots: int = 0
    least: int = 0  # slots that a layer needs

    def make(self, uses: Uses) -> Placement:
        order = np.argsort(-uses.ravel(), kind="stable")
        return Placement(
            residents=tuple(sorted(order[: self.residents].tolist())),
            in_place=tuple(sorted(order[order.size - self.in_place :].tolist())),
            layer_slots=self._split(uses) if self.split else (),
        )

    def _split(self, uses: Uses) -> tuple[int, ...]:
        layers = len(uses)
        spread = np.ones(layers) if self.split == "even" else _spread(uses)
        free = self.slots - layers * self.least
        ideal = free * spread / spread.sum()
        own = np.floor(ideal).astype(int)
        for layer in np.argsort(own - ideal, kind="stable")[: free - int(own.sum())]:
            own[layer] += 1
        return tuple((own + self.least).tolist())


def _spread(uses: Uses) -> npt.NDArray[np.float64]:
    """How many experts a layer uses in effect: exp of the entropy of their shares."""
    share = uses / np.maximum(1, uses.sum(1, keepdims=True))
    spread: npt.NDArray[np.float64] = np.exp(-(share * np.log(np.maximum(share, 1e-12))).sum(1))
    return spread


def _list_candidates(config: ModelConfig, slots: int, cost: ExpertCost) -> Iterator[_Candidate]:
    """The plainest first: it is taken where none is better."""
    layers, count = len(config.routed_layers), config.expert_count
    least = config.num_experts_per_tok + 1
    yield _Candidate()
    for share in _SHARES:
        if residents := int(share * (slots - least)):
            yield _Candidate(residents=residents)
    if slots >= layers * least:
        for split in ("even", "demand"):
            yield _Candidate(split=split, slots=slots, least=least)
    if cost.in_place_us is None:
        return
    yield _Candidate(residents=slots, in_place=count - slots)
    for share in _SHARES[:-1]:
        in_place = int(share * (count - slots))
        for residents in sorted({0, int(share * (slots - least))}):
            yield _Candidate(residents=residents, in_place=in_place)


def _make_cache(policy: str, config: ModelConfig, slots: int, placement: Placement) -> PlacedCache:
    """The slots of a plan, empty."""
    return PlacedCache(policy, config.num_hidden_layers, config.num_experts, slots, placement)


def _judge(batches: list[Batch], half: int, cache: PlacedCache) -> _Outcome:
    """Replay all, count the second half."""
    tokens = uses = misses = in_place = 0
    for number, (layer, batch, starts_token) in enumerate(batches):
        cache.access(layer, batch, starts_token)
        if number < half:
            continue
        tokens += starts_token
        uses += len(batch)
        misses += len(cache.missing)
        in_place += sum(cache.places[expert] == IN_PLACE for expert in batch)
    return _Outcome(tokens, uses, misses, in_place)


def _forecast(
    trace: Trace,
    batches: list[Batch],
    half: int,
    config: ModelConfig,
    make_cache: Callable[[], PlacedCache],
    times: Times | None,
) -> tuple[Forecast, ...]:
    """Of each prefetch that a trace can tell of, over its second half; traces of whole prompts tell of none."""
    if times is None or any(len(batch) > config.num_experts_per_tok for _, batch, _ in batches):
        return ()
    experts, guesses = config.num_experts, trace.guesses
    if guesses is None:
        listed: list[list[int]] = [[]] * len(batches)
    else:
        number = guesses // trace.experts_per_layer * experts + guesses % trace.experts_per_layer
        listed = [row[row != NO_GUESS].tolist() for row in np.where(guesses == NO_GUESS, NO_GUESS, number)]
    turns = [Turn(*batch, guess) for batch, guess in zip(batches, listed, strict=True)]
    counts = range(1 if guesses is None else config.num_experts_per_tok + 1)
    return tuple(forecast(turns, half, make_cache(), times, count) for count in counts)


def _bound(batches: list[Batch], half: int, config: ModelConfig, slots: int) -> float:
    count = config.expert_count
    cache = BeladyCache([1] * count, slots, [batch for _, batch, _ in batches], bypass=True)
    uses = misses = 0
    for number, (layer, batch, starts_token) in enumerate(batches):
        cache.access(layer, batch, starts_token)
        if number >= half:
            uses += len(batch)
            misses += len(cache.missing)
    return 1 - misses / max(1, uses)


def _check_shape(trace: Trace, config: ModelConfig) -> None:
    has = (len(trace.expert_bytes), trace.experts_per_layer, trace.top_k)
    layers, experts, top_k = len(config.routed_layers), config.num_experts, config.num_experts_per_tok
    if has[0] != layers or has[1] > experts or has[2] != top_k:
        raise UsageError(
            f"the trace is of another model: {has[0]} layers, experts up to {has[1] - 1}, top-{has[2]}; this one has"
            f" {layers} layers of {experts} experts, top-{top_k}",
            try_="mmoe-embed trace BUILD -o TRACE.csv, with a build of this model",
        )


def _renumber(trace: Trace, experts: int) -> list[Batch]:
    """The trace's batches with this model's numbers; a trace may not have met the last experts."""
    return [
        (layer, [layer * experts + expert % trace.experts_per_layer for expert in batch], starts_token)
        for layer, batch, starts_token in list_batches(trace)
    ]


def _second_half(batches: list[Batch]) -> int:
    """Number of the batch in the middle that starts a token; 0 where there are too few."""
    starts = [number for number, batch in enumerate(batches) if batch[2]]
    return starts[len(starts) // 2]


def _count_uses(batches: list[Batch], config: ModelConfig) -> Uses:
    """int (layers, experts)"""
    layers, experts = len(config.routed_layers), config.num_experts
    numbers = np.array([expert for _, batch, _ in batches for expert in batch], np.int64)
    return np.bincount(numbers, minlength=layers * experts).reshape(layers, experts)
