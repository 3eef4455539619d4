"""INT4 as released MobileMoE checkpoints have it: groups of 32 along the last axis, one float16 scale a group."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.huggingface.layout import Packed
from mmoe_embed.tensors import Array

GROUP = 32
FORMAT = "mobilemoe-int4-g32"
_SETTINGS = {
    "group_size": GROUP,
    "embedding_group_size": GROUP,
    "qmin": -8,
    "qmax": 7,
    "symmetric": True,
    "packed": True,
    "scale_dtype": "float16",
}


def describe_unsupported(settings: dict[str, Any]) -> list[str]:
    """What of a config's `quantization` is not the layout read here."""
    if settings.get("format") != FORMAT:
        return [f"quantization format {settings.get('format')!r} ({FORMAT} is supported)"]
    return [
        f"quantization with {name} {settings[name]!r} ({supported!r} is supported)"
        for name, supported in _SETTINGS.items()
        if settings.get(name, supported) != supported
    ]


def packed_names(name: str) -> Packed:
    """Where a float tensor of that name lies in the packed layout."""
    if name.endswith(".weight"):
        base = name.removesuffix("weight")
        return Packed(base + "qweight", base + "weight_scale")
    base = name.removesuffix("proj")
    return Packed(base + "qweight", base + "scale")


def unpack(integers: Array, scales: Array) -> NDArray[np.float32]:
    """The weights: exact products of an integer and its group's scale.

    Args:
        integers: uint8 (..., n / 2), the low nibble first.
        scales: float16 (..., n / 32).

    Returns:
        float32 (..., n).
    """
    nibbles = np.stack([integers & 0x0F, integers >> 4], axis=-1).reshape(*integers.shape[:-1], -1)
    signed = (nibbles ^ 8).astype(np.int8) - np.int8(8)
    grouped = signed.reshape(*scales.shape, GROUP).astype(np.float32)
    return (grouped * np.asarray(scales, np.float32)[..., None]).reshape(signed.shape)


def pack(weights: NDArray[np.float32], scales: Array) -> NDArray[np.uint8]:
    """The nearest integers for given scales: what `unpack` was given, where the weights are what it returned.

    Args:
        weights: float32 (..., n).
        scales: float16 (..., n / 32).

    Returns:
        uint8 (..., n / 2).
    """
    wide = np.asarray(scales, np.float32)[..., None]
    grouped = weights.reshape(*scales.shape, GROUP)
    quotient = np.divide(grouped, wide, out=np.zeros_like(grouped), where=wide != 0)
    q = np.clip(np.rint(quotient), -8, 7).astype(np.int8).reshape(*weights.shape[:-1], -1, 2)
    nibbles = q.view(np.uint8) & 0x0F
    return np.asarray(nibbles[..., 0] | nibbles[..., 1] << 4, np.uint8)
