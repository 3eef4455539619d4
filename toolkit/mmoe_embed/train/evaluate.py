"""Exact match of greedy answers, in torch."""

import numpy as np
import torch

from mmoe_embed.model import MoeModel
from mmoe_embed.train.data import Examples, collate


@torch.no_grad()
def match_exactly(model: MoeModel, examples: Examples, scheme: str | None, pad: int, batch: int = 100) -> list[bool]:
    """Whether each greedy answer is the expected one, token by token.

    One pass over prompt and expected completion suffices: greedy decoding gives it exactly where every token of it,
    the stop token included, is the likeliest after those before.
    """
    order = np.argsort(examples.lengths, kind="stable")
    right = np.zeros(len(examples), bool)
    for chosen in np.array_split(order, -(-len(order) // batch)):
        b = collate(examples, chosen, pad)
        logits, _ = model(b.tokens, b.answer, scheme, b.real)
        missed = torch.zeros_like(b.answer)
        missed[b.answer] = logits.argmax(dim=-1) != b.targets[b.answer]
        right[chosen] = ~missed.any(dim=1).numpy()
    return [bool(r) for r in right]
