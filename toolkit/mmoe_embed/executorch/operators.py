"""The operators of `firmware/ports/executorch` as PyTorch sees them while a program is exported: shapes only.

A program computes through the C operators; in PyTorch itself they have no implementation, the golden is the reference.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

_SCHEMAS = {
    "embed": "Tensor token, Tensor blob, int rows, int columns",
    "rmsnorm": "Tensor x, Tensor weight, float eps",
    "linear": "Tensor x, Tensor blob, int rows, int columns, int bits",
    "norm_heads": "Tensor qkv, Tensor q_weight, Tensor k_weight, int queries, int keys, float eps",
    "attention": "Tensor qkv, Tensor cosine, Tensor sine, Tensor(a!) kv, Tensor position, int heads, int kv_heads, "
    "bool qk_norm, float eps",
    "moe": "Tensor n, Tensor router, Tensor bias, Tensor shared, Tensor shared_gate, Tensor experts, int top_k, "
    "int width, int shared_width, int bits, bool softmax, bool as_scored, float scaling",
}


def _floats(like: Tensor, size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float32, device=like.device)


def _attention_shape(
    qkv: Tensor, cosine: Tensor, sine: Tensor, kv: Tensor, position: Tensor, heads: int, *_: Any
) -> Tensor:
    return _floats(qkv, heads * 2 * cosine.shape[1])


_SHAPES: dict[str, Callable[..., Tensor]] = {
    "embed": lambda token, blob, rows, columns: _floats(blob, columns),
    "rmsnorm": lambda x, weight, eps: torch.empty_like(x),
    "linear": lambda x, blob, rows, columns, bits: _floats(x, rows),
    "norm_heads": lambda qkv, *_: torch.empty_like(qkv),
    "attention": _attention_shape,
    "moe": lambda n, *_: torch.empty_like(n),
}

LIBRARY: Any = Library("mmoe", "DEF")  # type: ignore[no-untyped-call]
for _name, _arguments in _SCHEMAS.items():
    LIBRARY.define(f"{_name}({_arguments}) -> Tensor")
    LIBRARY.define(f"{_name}.out({_arguments}, *, Tensor(z!) out) -> Tensor(z!)")
    LIBRARY.impl(_name, _SHAPES[_name], "Meta")
