"""Rotary positions as tables (SPEC.md 2): data of a model, made once."""

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.config import ModelConfig

Table = NDArray[np.float32]


def rotary_tables(config: ModelConfig) -> tuple[Table, Table]:
    """Cosines and sines, each float32 (context, head_dim / 2)."""
    frequencies = (
        np.array(config.rotary_frequencies)
        if config.rotary_frequencies
        else config.rope_theta ** (-2.0 * np.arange(config.head_dim // 2) / config.head_dim)
    )
    angle = np.arange(config.max_position_embeddings)[:, None] * frequencies
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
