"""The dense part of a model by XNNPACK against our kernels: one machine, one run, in turn; ratios only.

    python scripts/xnnpack_speed.py build/s_mapped

Needs the phone extra. What is measured are the products that `mmoe-embed export --dense xnnpack` gives to XNNPACK:
those with `qkv` and `o` of all layers, for one token and for a prompt, and the one with the head, which a prompt needs
once, as a token does. Both forms are programs run by ExecuTorch's Python runtime; our operators use one thread.
"""

import argparse
import ctypes
import importlib.metadata
import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmoe_embed.bench.rounds import Ratio, compare_rounds
from mmoe_embed.build_folder import load_build
from mmoe_embed.quantized import Matrix, Quantized, load_quantized

warnings.filterwarnings("ignore")

PACKAGES = ("executorch", "torch", "torchao")
FORMS = ("ours", "XNNPACK")
Times = dict[str, dict[str, list[float]]]  # seconds of the fastest call of each round, by method and form


class Ours(nn.Module):
    """A product by our operator."""

    def __init__(self, matrix: Matrix, blob: Tensor) -> None:
        super().__init__()
        self.register_buffer("blob", blob)
        self.shape = matrix.rows, matrix.columns, matrix.bits

    def forward(self, x: Tensor) -> Tensor:
        ours: Any = torch.ops.mmoe.linear(x, self.blob, *self.shape)
        return ours


class Products(nn.Module):
    """One product after the other, each of the first columns that the one before it gave."""

    def __init__(self, products: Sequence[nn.Module], widths: Sequence[int]) -> None:
        super().__init__()
        self.products, self.widths = nn.ModuleList(products), tuple(widths)

    def forward(self, x: Tensor) -> Tensor:
        for product, width in zip(self.products, self.widths, strict=True):
            x = product(x[:, :width])
        return x


def write_program(model: Quantized, file: Path, tokens: int, xnnpack: bool) -> None:
    """Write methods `layers, token`, `layers, prompt` and `head`, of one form."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackDynamicallyQuantizedPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    from mmoe_embed.executorch.export import dense_layers, matrix_blob

    config, dense = model.config, dense_layers(model) if xnnpack else {}
    head = "embed" if config.tie_word_embeddings else "head"
    names = [f"layers.{layer}.{part}" for layer in range(config.num_hidden_layers) for part in ("qkv", "o")]
    methods, of_method = {}, {"layers, token": (names, 1), "layers, prompt": (names, tokens), "head": ([head], 1)}
    for method, (matrices, count) in of_method.items():
        of = [model.matrices[name] for name in matrices]
        parts = [
            dense[name.replace(".", "_")] if xnnpack else Ours(matrix, matrix_blob(model, name))
            for name, matrix in zip(matrices, of, strict=True)
        ]
        module = Products(parts, [matrix.columns for matrix in of]).eval()
        methods[method] = torch.export.export(module, (torch.zeros(count, config.hidden_size),))
    edge = to_edge_transform_and_lower(
        methods,
        partitioner=[XnnpackDynamicallyQuantizedPartitioner()] if xnnpack else [],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    with file.open("wb") as stream:
        edge.to_executorch().write_to_file(stream)


def measure(files: dict[str, Path], hidden: int, tokens: int, rounds: int, calls: int) -> Times:
    """Run the forms in turn."""
    from executorch.runtime import Runtime

    programs = {form: Runtime.get().load_program(file) for form, file in files.items()}
    names = sorted(programs[FORMS[0]].method_names)
    methods = {name: {form: program.load_method(name) for form, program in programs.items()} for name in names}
    times: Times = {name: {form: [] for form in FORMS} for name in names}
    for _ in range(rounds):
        for name in names:
            x = torch.randn(tokens if "prompt" in name else 1, hidden, generator=torch.Generator().manual_seed(0))
            for form in FORMS:
                fastest = float("inf")
                for _ in range(calls):
                    started = time.perf_counter()
                    methods[name][form].execute([x])
                    fastest = min(fastest, time.perf_counter() - started)
                times[name][form].append(fastest)
    return times


def take_ratios(times: Times) -> dict[str, Ratio]:
    """How many times our time XNNPACK takes, by method."""
    return {name: compare_rounds(forms["XNNPACK"], forms["ours"]) for name, forms in times.items()}


def main() -> None:
    """Read the arguments, measure, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="whose quantized model is taken")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of XNNPACK's pool")
    parser.add_argument("--prefill", type=int, default=256, help="tokens of the prompt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=5, help="the fastest of so many counts in a round")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    from executorch.extension.pybindings import portable_lib

    from mmoe_embed.executorch.library import build_operators

    model = load_quantized(load_build(a.build).quantized)
    with tempfile.TemporaryDirectory() as folder:
        ctypes.CDLL(str(build_operators(Path(folder) / "operators")))
        files = {form: Path(folder) / f"{form}.pte" for form in FORMS}
        for form, file in files.items():
            write_program(model, file, a.prefill, form == "XNNPACK")
        found = {}
        for threads in a.threads:
            portable_lib._unsafe_reset_threadpool(threads)
            found[threads] = take_ratios(measure(files, model.config.hidden_size, a.prefill, a.rounds, a.calls))
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    if a.json:
        named = {n: {name: ratio._asdict() for name, ratio in ratios.items()} for n, ratios in found.items()}
        print(json.dumps({"versions": versions, "time_over_ours": named}))
        return
    print(f"{versions}: time over ours, fastest of {a.rounds} rounds, median in brackets")
    for threads, ratios in found.items():
        for name, ratio in ratios.items():
            print(f"{threads} threads, {name:<16}{ratio!s:>15}")


if __name__ == "__main__":
    main()
