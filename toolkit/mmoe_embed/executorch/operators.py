"""The operators of `firmware/ports/executorch` as PyTorch sees them while a program is exported: shapes only.

A program computes through the C operators; in PyTorch itself they have no implementation, the golden is the reference.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

_SCHEMAS = {
    "embed": "Tensor tokens, Tensor blob, int rows, int columns",
    "rmsnorm": "Tensor x, Tensor weight, float eps",
    "linear": "Tensor x, Tensor blob, int rows, int columns, int bits",
    "norm_heads": "Tensor qkv, Tensor q_weight, Tensor k_weight, int queries, int keys, float eps",
    "attention": "Tensor qkv, Tensor cosine, Tensor sine, Tensor(a!) kv, Tensor position, int heads, int kv_heads, "
    "bool qk_norm, float eps",
    "pool": "Tensor x, Tensor(a!) sums, Tensor(b!) ends, Tensor position",
    "moe": "Tensor x, Tensor n, Tensor router, Tensor bias, Tensor shared, Tensor shared_gate, "
    "Tensor next_router, Tensor next_bias, Tensor experts, "
    "int top_k, int width, int shared_width, int bits, bool softmax, bool as_scored, float scaling",
}


def _rows(like: Tensor, size: Any) -> Tensor:
    """Float rows of `size` columns, as many as `like` has."""
    return like.new_empty((*like.shape[:-1], size), dtype=torch.float32)


def _attention_shape(
    qkv: Tensor, cosine: Tensor, sine: Tensor, kv: Tensor, position: Tensor, heads: int, *_: Any
) -> Tensor:
    return _rows(qkv, heads * 2 * cosine.shape[1])


_SHAPES: dict[str, Callable[..., Tensor]] = {
    "embed": lambda tokens, blob, rows, columns: _rows(tokens[:, None], columns),
    "rmsnorm": lambda x, weight, eps: torch.empty_like(x),
    "linear": lambda x, blob, rows, columns, bits: _rows(x, rows),
    "norm_heads": lambda qkv, *_: torch.empty_like(qkv),
    "attention": _attention_shape,
    "pool": lambda x, *_: torch.empty_like(x[:1]),
    "moe": lambda x, *_: torch.empty_like(x),
}

LIBRARY: Any = Library("mmoe", "DEF")  # type: ignore[no-untyped-call]
for _name, _arguments in _SCHEMAS.items():
    LIBRARY.define(f"{_name}({_arguments}) -> Tensor")
    LIBRARY.define(f"{_name}.out({_arguments}, *, Tensor(z!) out) -> Tensor(z!)")
    LIBRARY.impl(_name, _SHAPES[_name], "Meta")
