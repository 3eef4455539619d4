"""Routing that is local in time: a loss over blocks of tokens, so that a cache of experts misses less."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def share_use(scores: Sequence[Tensor], top_k: int) -> Tensor:
    """What each token expects to use of each expert: its share of the layer's scores, times top-k, at most 1.

    Args:
        scores: of each layer's router, (tokens, experts).
        top_k: experts of a token.

    Returns:
        (layers, tokens, experts)
    """
    stacked = torch.stack(list(scores))
    return (top_k * stacked / stacked.sum(dim=-1, keepdim=True)).clamp(max=1)


def spread_over_blocks(use: Tensor, real: Tensor, block: int) -> Tensor:
    """How many experts a block of consecutive tokens needs, for each that its tokens use on average.

    1 when all its tokens need the same, and more the more they differ. A block needs an expert unless every token of
    it does without: 1 - prod(1 - use).

    Args:
        use: of `share_use`, for batch * time tokens.
        real: bool (batch, time), not padding.
        block: tokens of a block; the last one of a row may be shorter.

    Returns:
        scalar, mean over layers and blocks.

    Source:
        the union of a chunk's experts as a training objective: chunk sparsification of BlockFFN, arXiv 2507.08771.
    """
    layers, _, experts = use.shape
    rows, steps = real.shape
    use = torch.where(real.view(-1, 1), use, 0.0).view(layers, rows, steps, experts)
    blocks = functional.pad(use, (0, 0, 0, -steps % block)).view(layers, rows, -1, block, experts)
    tokens = functional.pad(real, (0, -steps % block)).view(rows, -1, block).sum(dim=-1)
    needed = (1 - (1 - blocks).prod(dim=3)).sum(dim=-1)  # (layers, rows, blocks)
    mean = blocks.sum(dim=(3, 4)) / tokens.clamp(min=1)
    filled = tokens > 0
    spread: Tensor = (needed[:, filled] / mean[:, filled]).mean()
    return spread


def concentrate_use(use: Tensor, real: Tensor) -> Tensor:
    """How unevenly a batch uses the experts: 1 when evenly, experts / top-k when all its tokens need the same.

    Without it blocks share experts most cheaply when all tokens do, and the other experts are never learned.

    Args:
        use: of `share_use`, for batch * time tokens.
        real: bool (batch, time), not padding.

    Returns:
        scalar, mean over layers.

    Source:
        the load-balancing loss of Switch Transformers, arXiv 2101.03961, with soft choices for both of its factors.
    """
    mean = use[:, real.flatten()].mean(dim=1)
    concentration: Tensor = (mean.square().mean(dim=-1) / mean.mean(dim=-1).square()).mean()
    return concentration
