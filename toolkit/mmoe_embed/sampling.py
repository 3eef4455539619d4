"""How tokens of an answer are drawn: SPEC.md 3.7."""

import dataclasses

from mmoe_embed.errors import UsageError

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.001, 1000.0
_WORD = 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What a draw depends on, beside logits and position.

    Attributes:
        temperature: 0.001 to 1000; below 1 sharpens.
        top_k: so many of the largest logits are kept; 0 keeps all.
        seed: 32 bits; the same seed gives the same answer.
    """

    temperature: float
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not LEAST_TEMPERATURE <= self.temperature <= MOST_TEMPERATURE:
            raise UsageError(f"a temperature is {LEAST_TEMPERATURE} to {MOST_TEMPERATURE:g}, not {self.temperature:g}")
        for name, value in (("top_k", self.top_k), ("seed", self.seed)):
            if not 0 <= value <= _WORD:
                raise UsageError(f"{name} is 0 to {_WORD}, not {value}")


def random_word(seed: int, position: int) -> int:
    """The 32 random bits of a position."""
    return _mix((_mix(seed) + (position + 1) * 0x9E3779B9) & _WORD)


def _mix(h: int) -> int:
    h = (h ^ h >> 16) * 0x85EBCA6B & _WORD
    h = (h ^ h >> 13) * 0xC2B2AE35 & _WORD
    return h ^ h >> 16
