"""Renders every emitted file from a quantized model and its plan."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from mmoe_embed import __version__
from mmoe_embed.emit.lines import describe_moe, float_literal, op_lines, op_symbol
from mmoe_embed.experts import PageMatrix, build_image, expert_page
from mmoe_embed.graph import build_graph
from mmoe_embed.plan import BoardPlan
from mmoe_embed.quantized import Quantized
from mmoe_embed.tokens import build_tables
from mmoe_embed.weights import build_weights, symbol_name
from mmoe_embed.whole_file import write_whole

ABI = 7  # MMOE_ABI in firmware/include/mmoe_runtime.h


@dataclasses.dataclass(frozen=True)
class Emitted:
    """The emitted files by name, and the identity that the firmware reports."""

    files: dict[str, bytes]
    build_id: str  # sha256 in hex over everything the files come from


def build_identity(model: Quantized, plan: BoardPlan, sources_sha256: str = "") -> str:
    """sha256 over the model, the plan, the tool's version and, where known, the C sources."""
    text = json.dumps([model.model_id, plan.to_json(), __version__, ABI, sources_sha256])
    return hashlib.sha256(text.encode()).hexdigest()


def emit_model(model: Quantized, plan: BoardPlan, sources_sha256: str = "") -> Emitted:
    """Render the C of a model.

    Args:
        model: the quantized model.
        plan: its plan, for the same model.
        sources_sha256: of the C sources the files will be built with; part of the build identity.

    Returns:
        the files; the same arguments give the same bytes.

    Raises:
        ToolkitError: the tokenizer cannot run on a board.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmoe_embed.emit"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    build_id = build_identity(model, plan, sources_sha256)
    config, graph, weights = model.config, build_graph(model.config, plan.chunk), build_weights(model)
    tables = None if config.is_classifier else build_tables(model.tokenizer, config.vocab_size)
    layers = range(config.num_hidden_layers)
    page = expert_page(model)
    empty = PageMatrix(0, 0, 0, 0, 0, 0)
    context = {
        "abi": ABI,
        "name": model.name,
        "version": __version__,
        "plan": plan,
        "config": config,
        "model": model,
        "generation": model.generation,
        "build_id": build_id,
        "symbols": weights.symbols,
        "tables": tables,
        "wide_tokens": plan.wide_tokens,
        "matrices": [(symbol_name(n), m) for n, m in model.matrices.items() if ".experts." not in n],
        "moe_layers": [describe_moe(config, layer) for layer in layers],
        "ops": [(op_symbol(op), op.name) for op in graph.ops],
        "lines": op_lines(graph, config),
        "tensors": [(buffer, graph.tensors[buffer.name].size_expression) for buffer in plan.arena],
        "page": page,
        "mapped": plan.mapped,
        "expert_place": plan.paging.places(plan.expert_count),
        "first_slot": plan.paging.first_slots(),
        "gate_up": page.gate_up if page else empty,
        "down": page.down if page else empty,
        "text_bytes": b"".join(tables.text) if tables else b"",
        "text_offsets": _offsets(tables.text) if tables else [],
        "f32": float_literal,
        "hex_bytes": _hex_bytes,
        "rows_of": _rows_of,
    }
    files = {
        f"{stem}": environment.get_template(f"{stem}.j2").render(context).encode()
        for stem in ("model.h", "model.c", "tokens.c", "weights.S")
    }
    files["weights.bin"] = weights.data
    if page:
        files["experts.S"] = environment.get_template("experts.S.j2").render(context).encode()
        files["experts.bin"] = build_image(model, plan.page_alignment, plan.paging.flash_order, plan.spare_pages)
    files["plan.json"] = plan.to_json().encode()
    return Emitted(files, build_id)


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder, each at once or not at all; a file that is already the same is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        file = folder / name
        if file.exists() and file.read_bytes() == content:
            continue
        write_whole(file, content)


def _offsets(texts: tuple[bytes, ...]) -> list[int]:
    return [0, *np.cumsum([len(text) for text in texts]).tolist()]


def _hex_bytes(text: str) -> str:
    return ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(text))


def _rows_of(values: Sequence[object], count: int) -> list[str]:
    return [", ".join(str(v) for v in values[i : i + count]) + "," for i in range(0, len(values), count)]
