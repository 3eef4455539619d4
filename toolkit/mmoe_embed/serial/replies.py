"""What a board answers, typed (SPEC.md 8.1)."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Identity:
    """Who answers at the other end."""

    abi: int
    boots: int
    vocab_size: int
    context: int
    layers: int
    experts: int
    top_k: int
    slots: int
    model_id: str  # sha256 in hex
    build_id: str  # sha256 in hex
    tick_hz: int
    experts_crc: (
        int  # CRC-32 of the CRC-32s of all pages; 0 where experts cannot be replaced, or the image is not valid
    )
    updates: int  # how often experts were replaced
    board: str
    firmware_version: str


@dataclasses.dataclass(frozen=True)
class Step:
    """What a step gave, or a prefill: of its last token."""

    position: int
    argmax: int
    logits_crc: int
    ticks: int


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Counters since they were cleared; arena and stack in bytes, `used` is the high-water mark."""

    steps: int
    hits: int
    misses: int
    load_errors: int
    bytes_loaded: int
    stall_ticks: int
    arena_bytes: int
    arena_used: int
    stack_bytes: int
    stack_used: int
    load_ticks: int
    check_ticks: int
    prefetched: int
    prefetch_used: int
    kept: int  # pages that the runtime found still in their slots when it started

    @property
    def hit_rate(self) -> float | None:
        """Part of expert uses that found the expert loaded; None without any use."""
        uses = self.hits + self.misses
        return self.hits / uses if uses else None

    @property
    def hidden_share(self) -> float | None:
        """Part of the time of expert reads during which the model went on computing; None without any read."""
        return max(0.0, 1 - self.stall_ticks / self.load_ticks) if self.load_ticks else None


@dataclasses.dataclass(frozen=True)
class LayerStatistics:
    """What one layer's experts cost since the statistics were cleared."""

    hits: int
    misses: int
    bytes_loaded: int
    load_ticks: int
    stall_ticks: int


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened on the board.

    Attributes:
        ticks: since the first event that the board still has; in the order of the events, a read's end may lie back.
        kind: of SPEC.md 8.1, timeline.
        argument: an operation, an expert or a position, by kind.
    """

    ticks: int
    kind: int
    argument: int


@dataclasses.dataclass(frozen=True)
class OpProfile:
    """One operation's share of the time."""

    ticks: int
    calls: int


@dataclasses.dataclass(frozen=True)
class Routes:
    """Experts of the last step, uint8 (layers, top_k), and whether each was found loaded."""

    experts: NDArray[np.uint8]
    hits: NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class NextToken:
    """One token of an answer; `done` when it is the end and belongs to no text."""

    token: int
    done: bool
    text: bytes


@dataclasses.dataclass(frozen=True)
class Score:
    """What the softmax of the last step gives a token, in the board's own bits."""

    logit: float
    largest: float
    total: float

    @property
    def log_probability(self) -> float:
        """Natural logarithm of the token's probability."""
        return (self.logit - self.largest) - math.log(self.total)


@dataclasses.dataclass(frozen=True)
class KernelTest:
    """One kernel on stored numbers: CRC-32 of what it gave and of what it must give."""

    name: str
    ticks: int
    crc: int
    expected: int

    @property
    def ok(self) -> bool:
        """Whether the kernel has the bits it must have."""
        return self.crc == self.expected
