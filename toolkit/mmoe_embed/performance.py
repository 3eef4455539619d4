"""Speed on a board: the same tokens again and again, once to warm up, then counted."""

import dataclasses
import random
import statistics

from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.replies import OpProfile, Statistics

STEPS = 16
REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Performance:
    """Ticks of `repeats` runs of the same `steps` tokens, after `warm_up_steps` that are not counted.

    Attributes:
        ticks: of each repeat, all its steps together.
        profile: of every operation, over the repeats.
        counters: over the repeats.
    """

    warm_up_steps: int
    repeats: int
    steps: int
    ticks: tuple[int, ...]
    profile: tuple[OpProfile, ...]
    counters: Statistics

    @property
    def median(self) -> float:
        """Ticks of a token in the middle one of the repeats."""
        return statistics.median(self.ticks) / self.steps

    @property
    def fastest(self) -> float:
        """Ticks of a token in the fastest repeat."""
        return min(self.ticks) / self.steps

    @property
    def slowest(self) -> float:
        """Ticks of a token in the slowest repeat."""
        return max(self.ticks) / self.steps

    @property
    def op_ticks(self) -> tuple[float, ...]:
        """Mean ticks of each operation in a token, in the order in which they run."""
        return tuple(op.ticks / max(1, op.calls) for op in self.profile)


def measure_performance(
    client: BoardClient, *, vocab_size: int, context: int, steps: int = STEPS, repeats: int = REPEATS, seed: int = 0
) -> Performance:
    """Feed the same random tokens `repeats` times after once to fill the caches.

    Args:
        client: an identified board; its counters are cleared.
        vocab_size: tokens are below it.
        context: bounds the steps of a repeat.

    Raises:
        DeviceError: the board fails or does not answer.
    """
    source = random.Random(seed)
    tokens = [source.randrange(vocab_size) for _ in range(min(steps, context))]
    ticks = []
    for repeat in range(repeats + 1):
        client.reset(clear_statistics=repeat == 1)
        ticks.append(sum(client.step(token).ticks for token in tokens))
    return Performance(
        len(tokens), repeats, len(tokens), tuple(ticks[1:]), tuple(client.profile()), client.statistics()
    )
