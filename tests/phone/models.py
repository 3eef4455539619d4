"""Ordinary PyTorch models whose memory ExecuTorch plans: convolutions, attention, recurrence, experts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet(nn.Module):
    """Skip connections: large buffers that live long, small ones in between."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(c, 2 * c, 3, 2, 1) for c in (8, 16, 32))
        self.up = nn.ModuleList(nn.Conv2d(3 * c, c, 3, 1, 1) for c in (32, 16, 8))
        self.first = nn.Conv2d(3, 8, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, kept = self.first(x), []
        for layer in self.down:
            kept.append(x)
            x = functional.relu(layer(x))
        for layer in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = functional.relu(layer(torch.cat([x, kept.pop()], 1)))
        return x


class Inception(nn.Module):
    """Branches of different widths that meet again."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(24, width, size, padding=size // 2) for width, size in ((4, 1), (12, 3), (8, 5)))
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        for branches in self.branches:
            x = torch.cat([functional.relu(branch(x)) for branch in branches], 1)
        return x


class Gru(nn.Module):
    """A recurrence written out over eight steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(24, 40)

    def forward(self, x: Tensor) -> Tensor:
        h, seen = x.new_zeros(1, 40), []
        for step in x.unbind(1):
            h = self.cell(step, h)
            seen.append(h)
        return torch.stack(seen, 1)


class Experts(nn.Module):
    """Top-2 of 8 experts, their weights gathered: the largest buffers are copies of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(32, 8)
        self.w1, self.w2 = nn.Parameter(torch.randn(8, 32, 48)), nn.Parameter(torch.randn(8, 48, 32))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = torch.topk(torch.sigmoid(self.router(x)), 2)
        inner = functional.silu(torch.einsum("td,tkdh->tkh", x, self.w1[chosen]))
        return x + (weight[..., None] * torch.einsum("tkh,tkhd->tkd", inner, self.w2[chosen])).sum(1)


def _transformer() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False)


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "unet": lambda: (UNet(), torch.randn(1, 3, 32, 32)),
    "inception": lambda: (Inception(), torch.randn(1, 24, 12, 12)),
    "gru": lambda: (Gru(), torch.randn(1, 8, 24)),
    "experts": lambda: (Experts(), torch.randn(4, 32)),
    "transformer": lambda: (_transformer(), torch.randn(1, 8, 32)),
}
