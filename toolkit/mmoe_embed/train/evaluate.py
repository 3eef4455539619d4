"""How good a model is on what it was not trained on, in torch: exact match, loss, bits a byte."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmoe_embed.model import MoeModel
from mmoe_embed.train.data import Batch, DataSet


@torch.no_grad()
def match_exactly(model: MoeModel, examples: DataSet, scheme: str | None, batch: int = 100) -> list[bool]:
    """Whether each greedy answer is the expected one, token by token; of a classifier, each class.

    One pass over prompt and expected completion suffices: greedy decoding gives it exactly where every token of it,
    the stop token included, is the likeliest after those before.
    """
    order = np.argsort(examples.lengths, kind="stable")
    right = np.zeros(len(examples), bool)
    for chosen in np.array_split(order, -(-len(order) // batch)):
        b = examples.collate(chosen)
        logits, _ = model(b.tokens, b.answer, scheme, b.real)
        missed = torch.zeros_like(b.answer)
        missed[b.answer] = logits.argmax(dim=-1) != b.targets[b.answer]
        right[chosen] = ~missed.any(dim=1).numpy()
    return [bool(r) for r in right]


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The loss over held-out text.

    Attributes:
        loss: nats a token.
        bits_per_byte: of UTF-8 text; independent of the tokenizer.
        tokens: that were predicted.
    """

    loss: float
    bits_per_byte: float
    tokens: int


@torch.no_grad()
def measure_held_out(model: MoeModel, batches: Iterable[Batch], scheme: str | None, sizes: Tensor) -> HeldOut | None:
    """Predict every learned token of the batches; None where there is none.

    Args:
        model: as it is.
        batches: of the held-out part.
        scheme: round as "int8" or "int4" would; None computes in float.
        sizes: int64 (vocabulary), bytes of each token.
    """
    nats, tokens, size = 0.0, 0, 0
    for batch in batches:
        logits, _ = model(batch.tokens, batch.answer, scheme, batch.real, batch.documents)
        targets = batch.targets[batch.answer]
        nats += float(functional.cross_entropy(logits, targets, reduction="sum"))
        tokens += len(targets)
        size += int(sizes[targets].sum())
    if not size:
        return None
    return HeldOut(nats / tokens, nats / math.log(2) / size, tokens)
