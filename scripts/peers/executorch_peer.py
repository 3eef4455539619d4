"""ExecuTorch's stock forms of an MoE layer as a peer: exported for XNNPACK, and run by its Python runtime.

    python scripts/peers/executorch_peer.py write CHECKPOINT FOLDER
    python scripts/peers/executorch_peer.py run FOLDER                   (prints one JSON object)

Both need the phone extra. Stock operators cannot skip experts without copying them, so there are two forms of one
layer's MoE block (router, routed experts, shared expert): `dense` runs every expert as an nn.Linear of INT4 groups of
32 with INT8 activations (torchao, XNNPACK) and masks their outputs; `gather` copies a token's chosen experts out of
stacked parameters, which every stock flow leaves in float32. What is measured is `--copies` loaded programs run after
each other, as the layers of a model are; the gathered parameters lie in one mapped file that all copies share.
"""

import argparse
import importlib.metadata
import json
import random
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

warnings.filterwarnings("ignore")

PACKAGES = ("executorch", "torch", "torchao")


class Ffn(nn.Module):
    """SwiGLU, gate and up in one matrix."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_up, self.down = nn.Linear(hidden, 2 * width, bias=False), nn.Linear(width, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)


class Moe(nn.Module):
    """Router and shared expert; forms add the routed ones."""

    def __init__(self, hidden: int, experts: int, top_k: int, shared: int) -> None:
        super().__init__()
        self.router, self.shared = nn.Linear(hidden, experts, bias=False), Ffn(hidden, shared)
        self.experts, self.top_k = experts, top_k

    def route(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and numbers of each token's experts, (tokens, top_k)."""
        weights, chosen = torch.topk(torch.sigmoid(self.router(x)), self.top_k)
        return weights / weights.sum(-1, keepdim=True), chosen


class DenseMoe(Moe):
    """Runs every expert on every token."""

    def __init__(self, hidden: int, experts: int, top_k: int, width: int, shared: int) -> None:
        super().__init__(hidden, experts, top_k, shared)
        self.ffn = nn.ModuleList(Ffn(hidden, width) for _ in range(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.route(x)
        gate = torch.zeros(x.shape[0], self.experts).scatter(1, chosen, weights)
        y = self.shared(x)
        for number, ffn in enumerate(self.ffn):
            y = y + gate[:, number : number + 1] * ffn(x)
        return y


class GatherMoe(Moe):
    """Copies the experts of one token."""

    def __init__(self, hidden: int, experts: int, top_k: int, width: int, shared: int) -> None:
        super().__init__(hidden, experts, top_k, shared)
        self.gate_up = nn.Parameter(torch.randn(experts, hidden, 2 * width) / hidden**0.5)
        self.down = nn.Parameter(torch.randn(experts, width, hidden) / width**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.route(x)
        gate, up = (x @ self.gate_up[chosen[0]]).chunk(2, dim=-1)  # (top_k, 1, width)
        return self.shared(x) + weights @ ((nn.functional.silu(gate) * up) @ self.down[chosen[0]]).squeeze(1)


FORMS = {"dense": DenseMoe, "gather": GatherMoe}


def lower(module: nn.Module, tokens: int, hidden: int) -> bytes:
    """The program of a module for so many tokens at a time."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    exported = torch.export.export(module, (torch.randn(tokens, hidden),))
    edge = to_edge_transform_and_lower(
        exported, partitioner=[XnnpackPartitioner()], compile_config=EdgeCompileConfig(_check_ir_validity=False)
    )
    return bytes(edge.to_executorch().buffer)


def write(checkpoint: Path, folder: Path, prefill: int) -> None:
    """Write FORM_TOKENS.pte for each form: of one token, and of a prompt where the form has one."""
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
    from torchao.quantization.granularity import PerGroup

    config = json.loads((checkpoint / "config.json").read_text())
    hidden, count, top_k = config["hidden_size"], config["num_experts"], config["num_experts_per_tok"]
    folder.mkdir(parents=True, exist_ok=True)
    int4 = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))
    for form, make in FORMS.items():
        torch.manual_seed(0)
        module = make(
            hidden, count, top_k, config["moe_intermediate_size"], config["shared_expert_intermediate_size"]
        ).eval()
        quantize_(module, int4, filter_fn=lambda child, name: isinstance(child, nn.Linear) and name != "router")
        for tokens in (1, prefill) if form == "dense" else (1,):
            (folder / f"{form}_{tokens}.pte").write_bytes(lower(module, tokens, hidden))
    (folder / "shape.json").write_text(json.dumps({"hidden": hidden, "layers": config["num_hidden_layers"]}))


def run(folder: Path, threads: int, copies: int | None, repeats: int) -> dict[str, Any]:
    """Nanoseconds of a token in the MoE blocks of all layers, by program.

    Args:
        folder: what `write` made.
        threads: of XNNPACK's pool.
        copies: loaded programs; None for as many as the model has layers.
        repeats: the fastest of so many counts.
    """
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)
    shape = json.loads((folder / "shape.json").read_text())
    layers, source = shape["layers"], random.Random(0)
    copies = copies or layers
    speeds = {}
    for file in sorted(folder.glob("*.pte")):
        tokens = int(file.stem.rpartition("_")[2])
        programs = [Runtime.get().load_program(file) for _ in range(copies)]
        methods = [program.load_method("forward") for program in programs]
        fastest = float("inf")
        for _ in range(repeats):
            x = torch.randn(tokens, shape["hidden"], generator=torch.Generator().manual_seed(source.randrange(1 << 30)))
            started = time.perf_counter_ns()
            for method in methods:
                method.execute([x])
            fastest = min(fastest, time.perf_counter_ns() - started)
        speeds[file.stem] = fastest / tokens / copies * layers
        del methods, programs
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return {"version": versions, "threads": portable_lib._threadpool_get_thread_count(), "moe_ns": speeds}


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write")
    writing.add_argument("checkpoint", type=Path)
    writing.add_argument("folder", type=Path)
    writing.add_argument("--prefill", type=int, default=256)
    running = verbs.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--threads", type=int, default=2)
    running.add_argument("--copies", type=int)
    running.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args()
    if a.verb == "write":
        write(a.checkpoint, a.folder, a.prefill)
    else:
        print(json.dumps(run(a.folder, a.threads, a.copies, a.repeats)))


if __name__ == "__main__":
    main()
