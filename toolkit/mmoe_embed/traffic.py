"""Bytes that a token moves: what bounds decode where a core computes faster than its memory delivers."""

import dataclasses
import math

from mmoe_embed.board import Board
from mmoe_embed.config import ModelConfig
from mmoe_embed.pack import packed_bytes
from mmoe_embed.quantized import float_shapes, matrix_bits, matrix_shapes


@dataclasses.dataclass(frozen=True)
class TokenBytes:
    """What one decoded token reads, in bytes.

    Attributes:
        dense: every weight outside the routed experts; of the embedding one row, of the head all.
        experts: the chosen experts of all layers.
        cache: keys and values of the positions before it.
    """

    dense: int
    experts: int
    cache: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.dense + self.experts + self.cache


def count_token_bytes(config: ModelConfig, scheme: str, positions: int) -> TokenBytes:
    """What a decoded token reads with so many positions before it.

    Args:
        config: the model's shape.
        scheme: "int8" or "int4".
        positions: tokens in the KV cache.
    """
    dense = experts = 0
    for name, (rows, columns) in matrix_shapes(config).items():
        bits = matrix_bits(name, scheme)
        if ".experts." in name:
            if int(name.split(".")[3]) < config.num_experts_per_tok:
                experts += packed_bytes(rows, columns, bits)
        elif name == "embed" and not config.tie_word_embeddings:
            dense += packed_bytes(1, columns, bits)
        else:
            dense += packed_bytes(rows, columns, bits)
    for name, shape in float_shapes(config).items():
        if not name.startswith("rotary."):
            dense += 4 * math.prod(shape)
    # a position has keys and values of a byte each, and a float scale of each for every head
    cache = config.num_hidden_layers * positions * (2 * config.key_width + 8 * config.num_key_value_heads)
    return TokenBytes(dense, experts, cache)


def count_dram_us(board: Board, moved: TokenBytes) -> float | None:
    """Least time of these bytes from the board's DRAM, in microseconds; None where its rate is not known."""
    rate = board.memory_for("rodata").read_rate(0)
    return None if rate is None else moved.total * 1e6 / rate.bytes_per_s


def count_storage_us(board: Board, reads: float, expert_bytes: int) -> float | None:
    """Time of expert reads from the board's storage, in microseconds; None where its rate is not known."""
    if not reads:
        return 0.0
    rate = board.memory_for("experts").read_rate(expert_bytes)
    return None if rate is None else reads * expert_bytes * 1e6 / rate.bytes_per_s
