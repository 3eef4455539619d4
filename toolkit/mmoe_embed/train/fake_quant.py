"""Quantization inside the forward pass: SPEC.md's rounding, with gradients that pass straight through."""

import torch
from torch import Tensor

from mmoe_embed.quantized import GROUP

TINY = 2.0**-64  # a largest value below this counts as zero


def split_int8(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The integers and row scales that `quantize_int8` gives, as float32 tensors.

    Args:
        weights: float32 (..., rows, columns).

    Returns:
        (q, scale): (..., rows, columns) and (..., rows, 1); the weight stands for scale * q.
    """
    scale = weights.abs().amax(dim=-1, keepdim=True) / 127
    scale = torch.where(scale < TINY, torch.zeros_like(scale), scale)
    q = (weights / torch.where(scale == 0, torch.ones_like(scale), scale)).round().clamp(-127, 127)
    return torch.where(scale == 0, torch.zeros_like(q), q), scale


def split_int4(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The integers, row scales and group scales that `quantize_int4` gives, as float32 tensors.

    Args:
        weights: float32 (..., rows, columns).

    Returns:
        (q, scale, group): (..., rows, columns), (..., rows, 1) and (..., rows, ceil(columns / 32)); the weight
        stands for scale * group * q.
    """
    columns = weights.shape[-1]
    groups = -(-columns // GROUP)
    padded = torch.nn.functional.pad(weights, (0, groups * GROUP - columns))
    grouped = padded.view(*weights.shape[:-1], groups, GROUP)
    largest = grouped.abs().amax(dim=-1)
    wanted = (2 * largest) / 15
    scale = wanted.amax(dim=-1, keepdim=True) / 255
    scale = torch.where(scale < TINY, torch.zeros_like(scale), scale)
    group = (wanted / torch.where(scale == 0, torch.ones_like(scale), scale)).round().clamp(1, 255)
    group = torch.where((largest == 0) | (scale == 0), torch.zeros_like(group), group)
    step = (scale * group)[..., None]
    q = (grouped / torch.where(step == 0, torch.ones_like(step), step)).round().clamp(-8, 7)
    q = torch.where(step == 0, torch.zeros_like(q), q)
    return q.flatten(-2)[..., :columns], scale, group


def fake_quantize_weights(weights: Tensor, bits: int) -> Tensor:
    """The weights as the integers will stand for them; the gradient is that of the identity.

    Args:
        weights: float32 (..., rows, columns).
        bits: 8 (one scale a row) or 4 (groups of 32 columns).
    """
    with torch.no_grad():
        if bits == 8:
            q, scale = split_int8(weights)
            rounded = q * scale
        else:
            q, scale, group = split_int4(weights)
            step = (scale * group).repeat_interleave(GROUP, dim=-1)[..., : weights.shape[-1]]
            rounded = q * step
        difference = rounded - weights
    return weights + difference


def fake_quantize_activations(x: Tensor) -> Tensor:
    """One INT8 scale for each vector along the last axis (SPEC.md 3.2); the gradient is that of the identity."""
    with torch.no_grad():
        m = x.abs().amax(dim=-1, keepdim=True)
        inverse = torch.where(m < TINY, torch.zeros_like(m), 127 / m)
        difference = (x * inverse).round().mul_(m / 127).sub_(x)
    return x + difference
