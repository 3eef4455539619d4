"""Policies that estimate when each expert comes again, and the default policy built on them."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmoe_embed.paging.cache import Cache, LfuCache, LruCache

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

_ONE = 1 << 12  # one use, one token: the fixed point of uses and waits
_AGE_BITS = 16
_GONE = -1


class ScoredCache(Cache):
    """Evict the resident of the highest score; scores change at the start of a token and by use only.

    Args:
        layers: sizes are (layers, experts of a layer), layer by layer.
        bypass: the batch at hand may be dropped too, through load buffers that the budget does not count.
    """

    def __init__(self, sizes: Sequence[int], budget: int, layers: int, *, bypass: bool) -> None:
        super().__init__(sizes, budget)
        self._layers = layers
        self._per_layer = len(self.sizes) // layers
        self._bypass = bypass
        self._table: Integers = np.full((layers, self._per_layer), _GONE, np.int64)
        self._worst: Integers = np.full(layers, _GONE, np.int64)

    def score_all(self) -> Integers:
        """(layers * experts,) scores, none negative."""
        raise NotImplementedError

    def score(self, experts: list[int]) -> Integers:
        """The scores of some experts right after their use."""
        raise NotImplementedError

    def score_layers(self, layer: int) -> Integers | int:
        """(layers,): what to add to the score of each layer's experts while `layer` is at hand."""
        return 0

    def begin_token(self) -> None:
        """Score the residents anew."""
        resident = np.frombuffer(self.resident, np.uint8).astype(bool)
        self._table = np.where(resident, self.score_all(), _GONE).reshape(self._layers, -1)
        self._worst = self._table.max(1)

    def touch(self, layer: int, batch: list[int]) -> None:
        """Score the batch anew."""
        row = self._table[layer]
        row[[expert - layer * self._per_layer for expert in batch]] = self.score(batch)
        self._worst[layer] = row.max()

    def shrink(self, layer: int, batch: list[int]) -> None:
        """Hide what must stay, evict, show it again."""
        if self._bypass:
            while self.used > self.budget:
                self.drop(self.choose_victim(layer, set()))
            return
        row, columns = self._table[layer], [expert - layer * self._per_layer for expert in batch]
        hidden = row[columns]
        row[columns] = _GONE
        self._worst[layer] = row.max()
        super().shrink(layer, batch)
        for expert, column, value in zip(batch, columns, hidden, strict=True):
            row[column] = value if self.resident[expert] else _GONE
        self._worst[layer] = row.max()

    def choose_victim(self, layer: int, kept: set[int]) -> int:
        """The worst of the layers' worst."""
        worst = self._worst
        row = int(np.where(worst == _GONE, _GONE, worst + self.score_layers(layer)).argmax())
        column = int(self._table[row].argmax())
        self._table[row, column] = _GONE
        worst[row] = self._table[row].max()
        return row * self._per_layer + column

    def forget(self, expert: int) -> None:
        """Leave the table."""
        row, column = divmod(expert, self._per_layer)
        self._table[row, column] = _GONE
        self._worst[row] = self._table[row].max()


class WaitCache(ScoredCache):
    """Evict the expert with the longest expected wait: layers until its turn comes, plus tokens until it is chosen.

    The chance of being chosen is a decaying average of its uses: one 16-bit integer per expert. The wait in tokens is
    (layers to go) / layers + 1 / chance; what is equal goes by age. All arithmetic is in integers.

    Args:
        shift: at each token the average loses its 2**shift-th part; 4 forgets half in 11 tokens.
    """

    def __init__(self, sizes: Sequence[int], budget: int, layers: int, *, shift: int = 4) -> None:
        super().__init__(sizes, budget, layers, bypass=False)
        self._shift = shift
        self._uses: Integers = np.zeros(len(self.sizes), np.int64)
        self._last: Integers = np.zeros(len(self.sizes), np.int64)
        self._token = 0
        number = np.arange(layers)
        # a layer that was just computed is a whole token away
        self._distance = (((number[None, :] - number[:, None] - 1) % layers) * _ONE // layers) << _AGE_BITS

    def begin_token(self) -> None:
        """Let the averages decay."""
        self._token += 1
        self._uses -= self._uses >> self._shift
        super().begin_token()

    def touch(self, layer: int, batch: list[int]) -> None:
        """Count the uses."""
        self._uses[batch] += _ONE
        self._last[batch] = self._token
        super().touch(layer, batch)

    def score_all(self) -> Integers:
        """The wait in tokens, and below it the age."""
        return self._wait(self._uses, self._token - self._last)

    def score(self, experts: list[int]) -> Integers:
        """The wait of those at hand."""
        return self._wait(self._uses[experts], 0)

    def score_layers(self, layer: int) -> Integers | int:
        """The layers to go."""
        row: Integers = self._distance[layer]
        return row

    def _wait(self, uses: Integers, age: Integers | int) -> Integers:
        # In steady use the average is chance * 2**shift * _ONE; half a use in a hundred tokens is the floor.
        wait = ((_ONE * _ONE) << self._shift) // (uses + (_ONE >> 6))
        scored: Integers = (wait << _AGE_BITS) | np.minimum(age, (1 << _AGE_BITS) - 1)
        return scored


class DefaultCache(Cache):
    """Follow whichever of several policies has hit most of late.

    Each policy runs as a shadow: its counters and one bit per expert, no expert bytes. What is evicted is always
    something that the leader does not hold, the oldest of these first, so the content drifts to the leader's without a
    read of its own, and hits stay at most one cache filling per change of leader behind it. The leader changes when
    another one's decaying count of hits is ahead by a margin that noise does not reach.
    Shadows: expected wait with short and with long memory, LFU, LRU.
    """

    HORIZON_SHIFT = 6  # tokens: 2**6
    MARGIN_SHIFT = 8  # of the accesses in the horizon: 1 / 2**8

    def __init__(self, sizes: Sequence[int], budget: int, layers: int) -> None:
        super().__init__(sizes, budget)
        self._shadows: list[Cache] = [
            WaitCache(sizes, budget, layers, shift=4),
            WaitCache(sizes, budget, layers, shift=7),
            LfuCache(sizes, budget),
            LruCache(sizes, budget),
        ]
        self._hits = [0] * len(self._shadows)  # decaying, in 1/1024
        self._accesses = 0
        self._leader = 0
        self._extra: OrderedDict[int, None] = OrderedDict()  # resident here, not with the leader

    def access(self, layer: int, batch: list[int], starts_token: bool) -> None:
        """Let the shadows go first, then follow the leader."""
        if starts_token:
            self._choose_leader()
        for number, shadow in enumerate(self._shadows):
            shadow.access(layer, batch, starts_token)
            self._hits[number] += (len(batch) - len(shadow.missing)) << 10
        self._accesses += len(batch) << 10
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
        best = max(range(len(self._hits)), key=self._hits.__getitem__)
        margin = max(self._accesses >> self.MARGIN_SHIFT, 2 << 10)
        if self._hits[best] - self._hits[self._leader] > margin:
            self._leader = best
            held = self._shadows[best].resident
            here = np.flatnonzero(np.frombuffer(self.resident, np.uint8)).tolist()
            self._extra = OrderedDict((expert, None) for expert in here if not held[expert])
        self._hits = [hits - (hits >> self.HORIZON_SHIFT) for hits in self._hits]
        self._accesses -= self._accesses >> self.HORIZON_SHIFT


class Features:
    """What the learned score looks at: averages of use over 2, 8, 32 and 128 tokens, exp(-age / 4), and one."""

    SPANS = (2.0, 8.0, 32.0, 128.0)

    def __init__(self, experts: int) -> None:
        self._keep = np.exp(-1 / np.array(self.SPANS))
        self.averages = np.zeros((experts, len(self.SPANS)))
        self.recent = np.zeros((experts, 1))

    def begin_token(self) -> None:
        """Let them decay."""
        self.averages *= self._keep
        self.recent *= np.exp(-1 / 4)

    def touch(self, experts: list[int]) -> None:
        """Count the uses."""
        self.averages[experts] += 1 - self._keep
        self.recent[experts] = 1

    def read(self, experts: list[int] | slice) -> Reals:
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
        features.begin_token()
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


class LearnedCache(ScoredCache):
    """Evict the expert of the lowest learned score of being used in the next token; what is at hand may be bypassed.

    Args:
        weights: of `learn_weights`.
    """

    def __init__(self, sizes: Sequence[int], budget: int, layers: int, weights: Reals) -> None:
        super().__init__(sizes, budget, layers, bypass=True)
        self._weights = weights
        self._features = Features(len(self.sizes))

    def begin_token(self) -> None:
        """Let the features decay."""
        self._features.begin_token()
        super().begin_token()

    def touch(self, layer: int, batch: list[int]) -> None:
        """Count the uses."""
        self._features.touch(batch)
        super().touch(layer, batch)

    def score_all(self) -> Integers:
        """High where a use is unlikely."""
        return self._quantize(self._features.read(slice(None)))

    def score(self, experts: list[int]) -> Integers:
        """Of those at hand."""
        return self._quantize(self._features.read(experts))

    def _quantize(self, features: Reals) -> Integers:
        logit = np.clip(features @ self._weights, -1000, 1000)
        return ((1000 - logit) * 1e9).astype(np.int64)
