"""Replay a routing trace through a cache policy, and say what it hits, reads and waits for.

A hit is an expert that was resident before its layer was reached. The stall is the time of all reads one after the
other, bytes read / bandwidth: nothing is hidden behind compute, and a read has no cost of its own.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from mmoe_embed.errors import UsageError
from mmoe_embed.paging.belady import BeladyCache
from mmoe_embed.paging.cache import AgedLfuCache, Cache, LfuCache, LruCache, MruCache, PinCache
from mmoe_embed.paging.scores import DefaultCache, LearnedCache, WaitCache, learn_weights
from mmoe_embed.paging.trace import Trace

# policy: what it does. The last two know the future.
POLICIES = {
    "default": "follow whichever of wait, LFU, LRU and MRU hits most of late",
    "wait": "drop the longest expected wait: layers to go plus tokens between uses",
    "lru": "drop the least recently used",
    "lfu": "drop the least often used",
    "lfu-aged": "LFU, counts halved every 64 tokens",
    "mru": "drop the most recently used: for loops larger than the cache",
    "pin": "keep the most used of the learning trace",
    "learned": "drop the lowest learned score of use in the next token; may bypass",
    "belady": "drop the farthest next use: a bound",
    "belady-bypass": "the same, and may bypass: the bound of all",
}

# What the runtime calls a policy, and its name here; both decide alike (SPEC.md 7.2).
RUNTIME_POLICIES = {"wait": "wait", "lfu": "lfu-aged", "lru": "lru"}

Batch = tuple[int, list[int], bool]


@dataclasses.dataclass(frozen=True)
class Replay:
    """What one policy did with one trace; rates are 0..1, and 0 where there was nothing to hit."""

    policy: str
    prefill_accesses: int
    prefill_hits: int
    decode_accesses: int
    decode_hits: int
    bytes_read: int

    @property
    def decode_hit_rate(self) -> float:
        """Share of the decode's accesses that hit."""
        return self.decode_hits / self.decode_accesses if self.decode_accesses else 0.0

    @property
    def prefill_hit_rate(self) -> float:
        """Share of the prefill's accesses that hit."""
        return self.prefill_hits / self.prefill_accesses if self.prefill_accesses else 0.0


class Replayer:
    """Replays one trace with many policies and budgets.

    Args:
        trace: what to replay.
        learn_from: what `pin` and `learned` learn from; by default the first half of the trace itself, so their figures
            are half in-sample.
    """

    def __init__(self, trace: Trace, learn_from: Trace | None = None) -> None:
        self.trace = trace
        self._sizes: list[int] = trace.sizes.tolist()
        self._batches = list_batches(trace)
        self._learning = learn_from or trace.first_half()
        if learn_from and (
            learn_from.expert_bytes != trace.expert_bytes or learn_from.experts_per_layer > trace.experts_per_layer
        ):
            theirs, own = len(learn_from.expert_bytes), len(trace.expert_bytes)
            raise UsageError(
                f"the learning trace is of another model: {theirs} layers of {learn_from.experts_per_layer} experts,"
                f" the trace has {own} of {trace.experts_per_layer}, or their sizes differ",
                try_="a trace of the same model",
            )

    def replay(self, policy: str, budget: int) -> Replay:
        """Replay from an empty cache of `budget` bytes.

        Raises:
            UsageError: no such policy.
        """
        cache = self._make_cache(policy, budget)
        return self._run(cache, {policy: cache})[0]

    def replay_all(self, budget: int) -> list[Replay]:
        """Replay all of `POLICIES`, each from an empty cache; those that `default` follows run beside it, once."""
        default = DefaultCache(self._sizes, budget, len(self.trace.expert_bytes))
        replays = {replay.policy: replay for replay in self._run(default, {"default": default, **default.shadows})}
        return [replays[policy] if policy in replays else self.replay(policy, budget) for policy in POLICIES]

    def _run(self, cache: Cache, counted: Mapping[str, Cache]) -> list[Replay]:
        """Replay through `cache`, and count the caches that take part in it, by policy."""
        missed = [[0, 0] for _ in counted]  # of each by phase
        sizes, bytes_read, accesses = self._sizes, [0] * len(counted), [0, 0]
        caches = list(enumerate(counted.values()))
        for (layer, batch, starts_token), phase in zip(self._batches, self.trace.phases.tolist(), strict=True):
            cache.access(layer, batch, starts_token)
            accesses[phase] += len(batch)
            for number, each in caches:
                missing = each.missing
                missed[number][phase] += len(missing)
                for expert in missing:
                    bytes_read[number] += sizes[expert]
        prefill, decode = accesses
        return [
            Replay(policy, prefill, prefill - of_prefill, decode, decode - of_decode, read)
            for policy, (of_prefill, of_decode), read in zip(counted, missed, bytes_read, strict=True)
        ]

    def _make_cache(self, policy: str, budget: int) -> Cache:
        sizes, layers = self._sizes, len(self.trace.expert_bytes)
        match policy:
            case "default":
                return DefaultCache(sizes, budget, layers)
            case "wait":
                return WaitCache(sizes, budget, layers)
            case "lru":
                return LruCache(sizes, budget)
            case "lfu":
                return LfuCache(sizes, budget)
            case "lfu-aged":
                return AgedLfuCache(sizes, budget)
            case "mru":
                return MruCache(sizes, budget)
            case "pin":
                return PinCache(sizes, budget, choose_pinned(self._learned_experts(), sizes, budget))
            case "learned":
                learning = self._learning
                weights = learn_weights(list_batches(learning), len(learning.expert_bytes) * learning.experts_per_layer)
                return LearnedCache(sizes, budget, layers, weights)
            case "belady" | "belady-bypass":
                batches = [batch for _, batch, _ in self._batches]
                return BeladyCache(sizes, budget, batches, bypass=policy == "belady-bypass")
        raise UsageError(f"unknown policy {policy!r}; supported: {', '.join(POLICIES)}")

    def _learned_experts(self) -> list[int]:
        """Every use in the learning trace, by the numbers of this one."""
        layer, expert = np.divmod(self._learning.experts, self._learning.experts_per_layer)
        numbers: list[int] = (layer * self.trace.experts_per_layer + expert).tolist()
        return numbers


def list_batches(trace: Trace) -> list[Batch]:
    """(layer, experts, whether a token starts), in order."""
    experts, starts = trace.experts.tolist(), trace.starts.tolist()
    batches = [experts[start:end] for start, end in itertools.pairwise(starts)]
    return list(zip(trace.layers.tolist(), batches, trace.token_starts.tolist(), strict=True))


def choose_pinned(uses: Sequence[int], sizes: Sequence[int], budget: int) -> list[int]:
    """The most used experts that fit the budget together; of equals the lower number."""
    counts = np.bincount(np.array(uses, np.int64), minlength=len(sizes))
    pinned, left = [], budget
    for expert in np.argsort(-counts, kind="stable").tolist():
        if counts[expert] and sizes[expert] <= left:
            pinned.append(expert)
            left -= sizes[expert]
    return pinned


def describe_cycle(trace: Trace, budget: int) -> str:
    """A warning where the budget is below one token's cycle, else empty."""
    cycle = trace.cycle_bytes
    if budget >= cycle:
        return ""
    layers, smallest = len(trace.expert_bytes), min(trace.expert_bytes)
    if budget < smallest:
        return f"the budget of {budget} B holds no expert: the smallest has {smallest} B, one token's cycle {cycle} B"
    return (
        f"the budget of {budget} B is below one token's cycle of {cycle} B ({layers} layers x top-{trace.top_k} x"
        f" expert bytes; {cycle - budget} B short): LRU evicts nearly every expert before its layer comes round again,"
        " so it hits next to nothing in decode"
    )
