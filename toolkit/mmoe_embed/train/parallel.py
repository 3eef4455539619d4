"""Training on several processes, as torchrun starts them.

Each takes its share of a batch's rows and holds what the recipe's `parallel` says: "data" the whole model, adding its
gradients to the others'; "expert" its share of the routed experts, tokens travelling to where their experts are;
"sharded" its share of every tensor (FSDP2), for models that one process could not hold. Losses are normalised over the
whole batch, so the sums are those of one process up to the rounding of float32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.distributed.nn.functional import all_to_all_single
from torch.distributed.tensor import DTensor, distribute_tensor

from mmoe_embed.errors import ToolkitError
from mmoe_embed.model import Attention, Moe, MoeModel, RoutedExperts
from mmoe_embed.train.data import Batch
from mmoe_embed.train.recipe import Parallel

_PATIENCE = timedelta(minutes=10)  # how long a process waits for one that has died


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Attributes:
        rank: this process, 0-based.
        size: how many there are.
        parallel: what is shared out besides the rows.
    """

    rank: int = 0
    size: int = 1
    parallel: Parallel = "data"

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """The rows of a batch that this process takes."""
        parts = (batch.tokens, batch.targets, batch.real, batch.answer, batch.documents)
        return Batch(*(None if p is None else p[self.rank :: self.size] for p in parts))  # type: ignore[arg-type]

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, without a gradient."""
        value = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, value: bool) -> bool:
        """Whether it holds in any process."""
        return bool(self.sum(torch.tensor(float(value))) > 0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    def split(self, model: MoeModel) -> None:
        """Keep this process's part only.

        Raises:
            ToolkitError: the experts cannot be shared out evenly.
        """
        if self.size == 1:
            return
        if self.parallel == "sharded":
            parts = [part for part in model.modules() if isinstance(part, Attention | Moe)]
            for part in (*parts, model):
                sharded = fully_shard(part)
                sharded.set_gradient_divide_factor(1.0)
                sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        elif self.parallel == "expert":
            self._split_experts(model)

    def _split_experts(self, model: MoeModel) -> None:
        for experts in (module for module in model.modules() if isinstance(module, RoutedExperts)):
            if experts.num_experts % self.size:
                raise ToolkitError(
                    f"{experts.num_experts} experts cannot be shared out over {self.size} processes",
                    at="recipe, parallel",
                    try_='another --nproc-per-node, or parallel = "data"',
                )
            experts.dispatch = self._dispatch
            for name in ("gate_proj", "up_proj", "down_proj"):
                whole = getattr(experts, name)
                setattr(experts, name, torch.nn.Parameter(whole.detach().chunk(self.size)[self.rank].clone()))

    def is_split(self, name: str) -> bool:
        """Whether a tensor of the state dict belongs to the experts that are shared out."""
        return self.parallel == "expert" and self.size > 1 and ".experts." in name

    def add_gradients(self, model: MoeModel) -> None:
        """Sum the gradients of everything that every process holds."""
        if self.size == 1 or self.parallel == "sharded":  # FSDP has summed them already
            return
        held = [p for name, p in model.named_parameters() if not self.is_split(name)]
        for p in held:
            if p.grad is None:  # an expert that got no token here may have got one elsewhere
                p.grad = torch.zeros_like(p)
        flat = torch.cat([p.grad.flatten() for p in held if p.grad is not None])
        dist.all_reduce(flat)
        for p, part in zip(held, torch.split(flat, [p.numel() for p in held]), strict=True):
            p.grad = part.view_as(p)

    def clip_gradients(self, model: MoeModel, largest: float) -> float:
        """Scale the gradients of the whole model to a norm of at most `largest`; returns the norm before."""
        named = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
        if self.size == 1 or self.parallel == "sharded":
            total = torch.nn.utils.clip_grad_norm_([p for _, p in named], largest)
            return float(total.full_tensor() if isinstance(total, DTensor) else total)
        own = [p.grad for n, p in named if self.is_split(n) and p.grad is not None]
        common = [p.grad for n, p in named if not self.is_split(n) and p.grad is not None]
        apart = torch.nn.utils.get_total_norm(own).square() if own else torch.zeros(())
        norm = (torch.nn.utils.get_total_norm(common).square() + self.sum(apart)).sqrt()
        torch.nn.utils.clip_grads_with_norm_([p for _, p in named], largest, norm)
        return float(norm)

    def gather(self, name: str, value: Tensor) -> Tensor:
        """The whole of a tensor of the state dict, or of one shaped like it."""
        if isinstance(value, DTensor):
            return value.full_tensor()
        if not self.is_split(name):
            return value
        parts = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    def keep(self, name: str, value: Tensor, like: Tensor) -> Tensor:
        """The part of such a tensor that this process has, as it has its part of the parameter `like`."""
        if isinstance(like, DTensor):
            return distribute_tensor(value, like.device_mesh, like.placements)
        return value.chunk(self.size)[self.rank].clone() if self.is_split(name) else value

    def _dispatch(self, inputs: Tensor, counts: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Send inputs, sorted by expert, to the processes of their experts, and the outputs back."""
        asked = counts.view(self.size, -1)
        given = torch.empty_like(asked)
        dist.all_to_all_single(given, asked)  # (from process, own expert)
        sent, got = asked.sum(dim=1).tolist(), given.sum(dim=1).tolist()
        arrived = _exchange(inputs, got, sent)
        expert = torch.arange(given.shape[1]).repeat(self.size).repeat_interleave(given.flatten())
        order = expert.argsort(stable=True)
        outputs = apply(arrived[order], given.sum(dim=0))
        return _exchange(outputs[order.argsort()], sent, got)


def _exchange(values: Tensor, received: list[int], sent: list[int]) -> Tensor:
    output = values.new_empty(sum(received), values.shape[1])
    result: Tensor = all_to_all_single(output, values.contiguous(), received, sent)  # type: ignore[no-untyped-call]
    return result


@contextlib.contextmanager
def join_ranks(parallel: Parallel, environment: Any = os.environ) -> Iterator[Ranks]:
    """The processes that torchrun started, joined over gloo; one where it did not."""
    size = int(environment.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), size, parallel)
    finally:
        dist.destroy_process_group()
