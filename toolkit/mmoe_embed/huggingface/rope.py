"""Rotary settings of Hugging Face configs, both as `rope_theta` with `rope_scaling` and as `rope_parameters`."""

import math
from typing import Any

from mmoe_embed.huggingface.keys import Keys

_TYPES = ("default", "linear", "llama3")


def read_rope(keys: Keys, head_dim: int) -> dict[str, Any]:
    """Our keys: `rope_theta`, and `rotary_frequencies` where a scaling changes them."""
    settings = dict(keys.take("rope_parameters", default={}) or {})
    settings |= keys.take("rope_scaling", default={}) or {}
    theta = settings.get("rope_theta") or keys.take("rope_theta", default=10000.0)
    kind = settings.get("rope_type") or settings.get("type") or "default"
    if kind not in _TYPES:
        keys.lack(f"rotary scaling of type {kind!r} ({', '.join(_TYPES)} are supported)")
        return {"rope_theta": theta}
    if settings.get("partial_rotary_factor", 1.0) != 1.0:
        keys.lack("rotary on a part of each head (rope_parameters.partial_rotary_factor)")
    if kind == "default":
        return {"rope_theta": theta}
    frequencies = [theta ** (-2.0 * i / head_dim) for i in range(head_dim // 2)]
    try:
        scaled = [_scale(kind, frequency, settings) for frequency in frequencies]
    except KeyError as error:
        keys.lack(f"{error.args[0]} of rotary scaling {kind!r}")
        return {"rope_theta": theta}
    return {"rope_theta": theta, "rotary_frequencies": scaled}


def _scale(kind: str, frequency: float, settings: dict[str, Any]) -> float:
    """One frequency, in radians a position.

    Source: Llama 3.1's rule: long waves are stretched by the factor, short ones stay, those between are mixed.
    """
    factor = float(settings["factor"])
    if kind == "linear":
        return frequency / factor
    low, high = float(settings["low_freq_factor"]), float(settings["high_freq_factor"])
    waves = float(settings["original_max_position_embeddings"]) * frequency / (2 * math.pi)  # in the original context
    if waves < low:
        return frequency / factor
    if waves > high or low == high:
        return frequency
    own = (waves - low) / (high - low)
    return frequency * ((1 - own) / factor + own)
