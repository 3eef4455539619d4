"""Policies that estimate when each expert comes again, and the default policy built on them."""

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

    SPEC.md 7.2 has the arithmetic, all of it in integers; `firmware/src/policy.c` does the same. The chance of a use is
    a decaying average of the uses, and more where the layer chose the expert at its last turn. It changes at the
    layer's own turn only, so what the turns of a pass will make of all chances is computed at its start, at once. The
    waits of a layer's residents are kept in a row; an eviction compares the rows' largest.

    Args:
        layers: sizes are (layers, experts of a layer), layer by layer.
    """

    DECAY_SHIFT, USE, AGAIN, LEAST = 4, 4094, 16384, 1024
    TOKEN_SHIFT = 10  # a wait of one token is 2**10
    _ORDER_BITS = 40  # of the use clock, which decides between equal waits

    def __init__(self, sizes: Sequence[int], budget: int, layers: int) -> None:
        super().__init__(sizes, budget)
        self._per_layer = len(self.sizes) // layers
        self._clock = 0
        self._chances: Integers = np.zeros((layers, self._per_layer), np.int64)
        self._when: Integers = np.zeros((layers, self._per_layer), np.int64)  # last use
        self._keys: Integers = np.full((layers, self._per_layer), _GONE, np.int64)  # of what may be evicted
        self._first: list[int] = [0] * layers  # each row's largest: where it stands
        self._worst: Integers = np.full(layers, _GONE, np.int64)  # and how large it is
        number = np.arange(layers)
        to_go = (number[None, :] - number[:, None] - 1) % layers  # a layer that was just computed is a whole token away
        self._distances = ((to_go << self.TOKEN_SHIFT) // layers) << self._ORDER_BITS
        self._look_ahead()

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Count the uses, evict, and only then let the batch take part."""
        super().access(layer, batch, starts_token)
        columns, here = self._columns, [bool(self.resident[expert]) for expert in batch]
        if not all(here):  # the batch alone is over the budget
            columns = columns[here]
        row = self._keys[layer]
        row[columns] = self._used_waits[layer][columns] - self._when[layer][columns]
        self._find_first(layer)

    def begin_token(self) -> None:
        """No layer has had its turn."""
        self._look_ahead()

    def _look_ahead(self) -> None:
        """What the layers' next turns make of chances and waits, of experts that they leave out and that they use."""
        self._turn = -1  # the layer whose turn it is, in this pass
        self._left_out = (self._chances - (self._chances >> self.DECAY_SHIFT)) & ~1
        self._used = (self._left_out + self.USE) | 1
        self._left_out_waits, self._used_waits = self._make_waits(self._left_out), self._make_waits(self._used)

    def _make_waits(self, chances: Integers) -> Integers:
        """For the turn after the next one, before what tells equals apart."""
        wait = ((1 << 16) + self.AGAIN << self.TOKEN_SHIFT) / (chances + (chances & 1) * self.AGAIN + self.LEAST)
        return wait.astype(np.int64) << self._ORDER_BITS  # rounds as // does: both numbers are far below 2**53

    def touch(self, layer: int, batch: list[int]) -> None:
        """Let the layer's chances decay at its turn, count the uses, and take the batch out of the row."""
        self._columns = columns = np.array(batch, np.int64) - layer * self._per_layer
        chances, when, row = self._chances[layer], self._when[layer], self._keys[layer]
        if layer != self._turn:  # else the layer goes on with more experts for a chunk of a prompt
            self._turn = layer
            chances[:] = self._left_out[layer]
            np.copyto(row, self._left_out_waits[layer] - when, where=row != _GONE)
        chances[columns] = self._used[layer][columns]
        when[columns] = np.arange(self._clock, self._clock + len(batch))
        self._clock += len(batch)
        row[columns] = _GONE
        self._find_first(layer)

    def make_room(self, layer: int, size: int, kept: set[int]) -> None:
        """Evict; `kept` stand outside their rows meanwhile."""
        places = np.divmod(np.array(sorted(kept), np.int64), self._per_layer)
        held = self._keys[places]
        self._keys[places] = _GONE
        self._find_all()
        super().make_room(layer, size, kept)
        self._keys[places] = held
        self._find_all()

    def note_admitted(self, expert: int) -> None:
        """With the chance that it had, and last of equals."""
        layer, column = divmod(expert, self._per_layer)
        self._when[layer, column] = self._clock
        self._keys[layer, column] = self._make_waits(self._chances[layer, column]) - self._clock
        self._find_first(layer)

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The first of the row whose first waits longest."""
        number = int((self._worst + self._distances[layer]).argmax())
        column = self._first[number]
        self._keys[number, column] = _GONE
        self._find_first(number)
        return number * self._per_layer + column

    def forget(self, expert: int) -> None:
        """Leave the row."""
        layer, column = divmod(expert, self._per_layer)
        self._keys[layer, column] = _GONE
        self._find_first(layer)

    def _find_first(self, layer: int) -> None:
        row = self._keys[layer]
        self._first[layer] = column = int(row.argmax())
        self._worst[layer] = row[column]

    def _find_all(self) -> None:
        self._first = self._keys.argmax(axis=1).tolist()
        self._worst = self._keys.max(axis=1)


class DefaultCache(Cache):
    """Follow whichever of several policies hits most of late.

    Each policy runs as a shadow: its counters and one bit per expert, no expert bytes. What is evicted is always
    something that the leader does not hold, the oldest of these first, so the content drifts to the leader's without a
    read of its own. A policy takes over when its hits ahead of the leader, token by token, sum up to more than a few,
    and to what chance alone would give (the root of the sum of their squares); both sums decay. All arithmetic is in
    integers. Shadows: expected wait, which leads at first, LFU, LRU, and MRU for loops.

    Attributes:
        shadows: by their policies' names.
    """

    HORIZON_SHIFT = 7  # tokens: 2**7
    LEAST_LEAD = 8  # hits

    def __init__(self, sizes: Sequence[int], budget: int, layers: int) -> None:
        super().__init__(sizes, budget)
        self.shadows: dict[str, Cache] = {
            "wait": WaitCache(sizes, budget, layers),
            "lfu": LfuCache(sizes, budget),
            "lru": LruCache(sizes, budget),
            "mru": MruCache(sizes, budget),
        }
        self._shadows = list(self.shadows.values())
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
        self.drop_victims(layer, set())

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """What the leader gave up first."""
        return self._extra.popitem(last=False)[0]

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
        if lead < self.LEAST_LEAD << _LEAD_SHIFT or lead * lead < noise[best] << _LEAD_SHIFT:
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
        self._decay = np.array([*self._keep, np.exp(-1 / 4), 1.0])
        self.values = np.zeros((experts, len(self._decay)))
        self.values[:, -1] = 1.0

    @property
    def recent(self) -> Reals:
        """(experts,): exp(-age / 4), 0 before the first use."""
        return self.values[:, -2]

    def decay(self, rows: slice) -> None:
        """Let a token pass for some experts."""
        self.values[rows] *= self._decay

    def touch(self, experts: list[int]) -> None:
        """Count the uses."""
        touched = self.values[experts]
        touched[:, :-2] += 1 - self._keep
        touched[:, -2] = 1.0
        self.values[experts] = touched


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
            seen = np.flatnonzero(features.recent)
            rows.append(features.values[seen])
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
        self._first: list[int] = [0] * layers  # each layer's lowest: where it stands
        self._lowest: Reals = np.full(layers, np.inf)  # and how low it is

    def touch(self, layer: int, batch: list[int]) -> None:
        """Score the layer; the batch counts as resident, since it is loaded before anything is evicted."""
        rows = slice(layer * self._per_layer, (layer + 1) * self._per_layer)
        self._features.decay(rows)
        self._features.touch(batch)
        here = np.frombuffer(self.resident, np.uint8)[rows].astype(bool)
        here[[expert - rows.start for expert in batch]] = True
        self._scores[layer] = np.where(here, self._features.values[rows] @ self._weights, np.inf)
        self._find_first(layer)

    def shrink(self, layer: int, batch: list[int]) -> None:
        """Evict; nothing is kept for being at hand."""
        self.drop_victims(layer, set())

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The lowest of the layers' lowest."""
        number = int(self._lowest.argmin())
        column = self._first[number]
        self._scores[number, column] = np.inf
        self._find_first(number)
        return number * self._per_layer + column

    def _find_first(self, layer: int) -> None:
        row = self._scores[layer]
        self._first[layer] = column = int(row.argmin())
        self._lowest[layer] = row[column]
