"""Policies that estimate when each expert comes again, and the default policy built on them."""

import heapq
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmoe_embed.paging.cache import Cache, LfuCache, LruCache, MruCache

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

_GONE = -(1 << 62)
_LEAD_SHIFT = 10


class WaitCache(Cache):
    """Evict the expert with the longest expected wait: layers until its turn comes, plus tokens until it is chosen.

    The wait in tokens is (layers to go) / layers + 1 / chance, and the chance is a decaying average of the uses. It is
    not the average that decays but the weight of a use that grows, so a token costs no pass over the experts: one
    32-bit integer per expert, rescaled now and then. Within a layer the order of the experts then changes by use only;
    a heap per layer holds it, and an eviction compares the layers' first ones. All arithmetic is in integers.

    Args:
        layers: sizes are (layers, experts of a layer), layer by layer.
        shift: at each token the average loses its 2**shift-th part; 4 forgets half in 11 tokens.
    """

    ONE_SHIFT = 12  # the weight of a use runs from 2**12 to 2**24, then all are rescaled

    def __init__(self, sizes: Sequence[int], budget: int, layers: int, *, shift: int = 4) -> None:
        super().__init__(sizes, budget)
        self._shift = shift
        self._per_layer = len(self.sizes) // layers
        self._weight = 1 << self.ONE_SHIFT
        self._token = 0
        self._uses = [0] * len(self.sizes)
        # (uses, token of the last one, expert); those that were used since or are gone are skipped when on top
        self._heaps: list[list[tuple[int, int, int]]] = [[] for _ in range(layers)]
        self._worst: Integers = np.full(layers, _GONE, np.int64)  # wait of each layer's first, in 2**-ONE_SHIFT tokens
        number = np.arange(layers)
        # a layer that was just computed is a whole token away
        self._distance = ((number[None, :] - number[:, None] - 1) % layers << self.ONE_SHIFT) // layers
        self._weights = [self._weight] * layers  # at the layer's last turn

    def begin_token(self) -> None:
        """Let the weight of a use grow."""
        self._token += 1
        self._weight += self._weight >> self._shift
        if self._weight >> (2 * self.ONE_SHIFT):
            self._rescale()

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Count the uses, evict, and only then let the batch take part."""
        super().access(layer, batch, starts_token)
        heap, uses, token, resident = self._heaps[layer], self._uses, self._token, self.resident
        for expert in batch:
            if resident[expert]:
                heapq.heappush(heap, (uses[expert], token, expert))
        self._settle(layer)

    def touch(self, layer: int, batch: list[int]) -> None:
        """Count the uses; this takes the batch's entries out of the heap."""
        uses, weight = self._uses, self._weight
        for expert in batch:
            uses[expert] += weight
        self._weights[layer] = weight
        self._settle(layer)

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The first of the layer whose first waits longest."""
        row = int((self._worst + self._distance[layer]).argmax())
        expert = heapq.heappop(self._heaps[row])[2]
        self._settle(row, gone=expert)
        return expert

    def forget(self, expert: int) -> None:
        """Leave the heap; rare, so it may be slow."""
        layer = expert // self._per_layer
        self._heaps[layer] = [entry for entry in self._heaps[layer] if entry[2] != expert]
        heapq.heapify(self._heaps[layer])
        self._settle(layer)

    def _settle(self, layer: int, gone: int = -1) -> None:
        """Bring a true entry to the top of a layer's heap, and note its wait."""
        heap, uses, resident = self._heaps[layer], self._uses, self.resident
        while heap and (not resident[heap[0][2]] or heap[0][0] != uses[heap[0][2]] or heap[0][2] == gone):
            heapq.heappop(heap)
        # In steady use `uses` is chance * weight * 2**shift; + 1 / 64 of one use, so that no wait is endless.
        weight = self._weights[layer]
        self._worst[layer] = (
            (weight << (self.ONE_SHIFT + self._shift)) // (heap[0][0] + (weight >> 6)) if heap else _GONE
        )

    def _rescale(self) -> None:
        self._weight >>= self.ONE_SHIFT
        self._weights = [max(1, weight >> self.ONE_SHIFT) for weight in self._weights]
        old = self._uses
        self._uses = [uses >> self.ONE_SHIFT for uses in old]
        for layer, heap in enumerate(self._heaps):
            alive = [entry for entry in heap if self.resident[entry[2]] and entry[0] == old[entry[2]]]
            self._heaps[layer] = [(uses >> self.ONE_SHIFT, token, expert) for uses, token, expert in alive]
            heapq.heapify(self._heaps[layer])


class DefaultCache(Cache):
    """Follow whichever of several policies hits most of late.

    Each policy runs as a shadow: its counters and one bit per expert, no expert bytes. What is evicted is always
    something that the leader does not hold, the oldest of these first, so the content drifts to the leader's without a
    read of its own. A policy takes over when its hits ahead of the leader, token by token, sum up to 1.5 times what
    chance alone would give (the root of the sum of their squares); both sums decay. All arithmetic is in integers.
    Shadows: expected wait, which leads at first, LFU, LRU, and MRU for loops.
    """

    HORIZON_SHIFT = 6  # tokens: 2**6
    LEAST_LEAD = 4  # hits

    def __init__(self, sizes: Sequence[int], budget: int, layers: int) -> None:
        super().__init__(sizes, budget)
        self._shadows: list[Cache] = [
            WaitCache(sizes, budget, layers, shift=4),
            LfuCache(sizes, budget),
            LruCache(sizes, budget),
            MruCache(sizes, budget),
        ]
        self._new = [0] * len(self._shadows)  # less misses in this token
        self._leads = [0] * len(self._shadows)  # hits ahead of the leader, decaying, in 2**-_LEAD_SHIFT
        self._noise = [0] * len(self._shadows)  # squares of what each token added, alike
        self._leader = 0
        self._extra: OrderedDict[int, None] = OrderedDict()  # resident here, not with the leader

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Let the shadows go first, then follow the leader."""
        if starts_token:
            self._choose_leader()
        for number, shadow in enumerate(self._shadows):
            shadow.access(layer, batch, starts_token)
            self._new[number] -= len(shadow.missing)
        super().access(layer, batch, starts_token)

    def touch(self, layer: int, batch: list[int]) -> None:
        """Note what the leader took in and what it gave up."""
        leader = self._shadows[self._leader]
        for expert in batch:
            if leader.resident[expert]:
                self._extra.pop(expert, None)
            else:
                self._extra[expert] = None
        for expert in leader.evicted:
            if self.resident[expert]:
                self._extra[expert] = None

    def shrink(self, layer: int, batch: list[int]) -> None:
        """Evict what the leader does not hold; the leader fits the budget, so there is always enough."""
        while self.used > self.budget:
            self.drop(self._extra.popitem(last=False)[0])

    def _choose_leader(self) -> None:
        leads, noise, decay = self._leads, self._noise, self.HORIZON_SHIFT
        base = self._new[self._leader]
        for number, new in enumerate(self._new):
            ahead = new - base
            leads[number] += (ahead << _LEAD_SHIFT) - (leads[number] >> decay)
            noise[number] += (ahead * ahead << _LEAD_SHIFT) - (noise[number] >> decay)
            self._new[number] = 0
        best = max(range(len(leads)), key=leads.__getitem__)
        lead = leads[best]
        if lead < self.LEAST_LEAD << _LEAD_SHIFT or 4 * lead * lead < (9 * noise[best]) << _LEAD_SHIFT:
            return
        self._leader = best
        against = noise[best]
        self._leads = [other - lead for other in leads]
        self._noise = [other + against for other in noise]
        held = self._shadows[best].resident
        here = np.flatnonzero(np.frombuffer(self.resident, np.uint8)).tolist()
        self._extra = OrderedDict((expert, None) for expert in here if not held[expert])


class Features:
    """What the learned score looks at: averages of use over 2, 8, 32 and 128 tokens, exp(-age / 4), and one."""

    SPANS = (2.0, 8.0, 32.0, 128.0)

    def __init__(self, experts: int) -> None:
        self._keep = np.exp(-1 / np.array(self.SPANS))
        self.averages = np.zeros((experts, len(self.SPANS)))
        self.recent = np.zeros((experts, 1))

    def decay(self, rows: slice) -> None:
        """Let a token pass for some experts."""
        self.averages[rows] *= self._keep
        self.recent[rows] *= np.exp(-1 / 4)

    def touch(self, experts: list[int]) -> None:
        """Count the uses."""
        self.averages[experts] += 1 - self._keep
        self.recent[experts] = 1

    def read(self, experts: slice | list[int]) -> Reals:
        """(experts, 6)."""
        return np.hstack([self.averages[experts], self.recent[experts], np.ones_like(self.recent[experts])])


def learn_weights(batches: Sequence[tuple[int, list[int], bool]], experts: int) -> Reals:
    """Logistic regression of "used in the next token" on `Features`, over a trace.

    Args:
        batches: (layer, experts, whether a token starts), in order.
    """
    features = Features(experts)
    tokens: list[list[int]] = []
    for _, batch, starts_token in batches:
        if starts_token or not tokens:
            tokens.append([])
        tokens[-1] += batch
    every = max(1, len(tokens) // 256)  # enough to fit six numbers
    rows, labels = [], []
    for number, token in enumerate(tokens[:-1]):
        features.decay(slice(None))
        features.touch(token)
        if number % every == 0:
            seen = np.flatnonzero(features.recent[:, 0]).tolist()
            rows.append(features.read(seen))
            labels.append(np.isin(seen, tokens[number + 1]))
    weights = np.zeros(len(Features.SPANS) + 2)
    weights[2] = 1.0
    if not rows:
        return weights
    inputs, wanted = np.vstack(rows), np.concatenate(labels)
    weights[:] = 0
    ridge = 1e-3 * np.eye(len(weights))
    for _ in range(12):  # Newton steps
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (wanted - chance) - ridge @ weights
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + ridge
        weights += np.linalg.solve(curve, slope)
    return weights


class LearnedCache(Cache):
    """Evict the expert of the lowest learned score of being used in the next token; what is at hand may be bypassed.

    A layer is scored anew when its turn comes. Bypass goes through load buffers that the budget does not count.

    Args:
        layers: sizes are (layers, experts of a layer), layer by layer.
        weights: of `learn_weights`.
    """

    def __init__(self, sizes: Sequence[int], budget: int, layers: int, weights: Reals) -> None:
        super().__init__(sizes, budget)
        self._weights = weights
        self._per_layer = len(self.sizes) // layers
        self._features = Features(len(self.sizes))
        self._scores: Reals = np.full((layers, self._per_layer), np.inf)  # of residents
        self._lowest: Reals = np.full(layers, np.inf)

    def touch(self, layer: int, batch: list[int]) -> None:
        """Score the layer; the batch counts as resident, since it is loaded before anything is evicted."""
        rows = slice(layer * self._per_layer, (layer + 1) * self._per_layer)
        self._features.decay(rows)
        self._features.touch(batch)
        here = np.frombuffer(self.resident, np.uint8)[rows].astype(bool)
        here[[expert - rows.start for expert in batch]] = True
        self._scores[layer] = np.where(here, self._features.read(rows) @ self._weights, np.inf)
        self._lowest[layer] = self._scores[layer].min()

    def shrink(self, layer: int, batch: list[int]) -> None:
        """Evict; nothing is kept for being at hand."""
        while self.used > self.budget:
            self.drop(self.choose_victim(layer, set()))

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The lowest of the layers' lowest."""
        row = int(self._lowest.argmin())
        column = int(self._scores[row].argmin())
        self._scores[row, column] = np.inf
        self._lowest[row] = self._scores[row].min()
        return row * self._per_layer + column
