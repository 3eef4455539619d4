"""Experts of an ExecuTorch program that are read when a token chooses them: backend MmoePagedExperts.

The block of a layer goes to the backend, its experts' pages become named data of the program, in the .pte or in a .ptd
beside it, and the plan says how many slots hold them. The C side is `firmware/ports/executorch/delegate.cpp`.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, final

import torch
from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir.backend.backend_details import BackendDetails, PreprocessResult
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec, Partitioner, PartitionResult
from torch.export import ExportedProgram
from torch.fx import Graph

from mmoe_embed.experts import Entry, ImageLayout, PageMatrix, expert_page, pack_expert, pack_head
from mmoe_embed.plan import BoardPlan
from mmoe_embed.quantized import Quantized

BACKEND = "MmoePagedExperts"
_PLAN, _EXPERT = "mmoe_paged_plan", "mmoe_expert_{:05d}"  # as in delegate.cpp
_VERSION, _ALIGNMENT = 2, 16
_START = struct.Struct("<4sII")
_POLICIES = ("lru", "lfu", "wait")  # mmoe_policy
_EXPERTS_ARGUMENT, _SHAPE_ARGUMENTS = 8, slice(9, 16)  # of torch.ops.mmoe.moe


def pack_plan(model: Quantized, plan: BoardPlan) -> bytes:
    """What the backend is told once for a program: `mmoe_paged_plan` of paged.h and what lies behind it."""
    config, page = model.config, expert_page(model)
    assert page is not None
    entries = []
    layout = ImageLayout(config.expert_count, page.size_bytes, _ALIGNMENT)
    for number, offset in zip(range(config.expert_count), layout.pages, strict=True):
        layer, expert = divmod(number, config.num_experts)
        data, _ = pack_expert(model, config.routed_layers[layer], expert)
        entries.append(Entry(offset, zlib.crc32(data)))
    head = pack_head(layout, entries, model.model_id)
    places, bounds = bytes(plan.paging.places(config.expert_count)), plan.paging.first_slots()
    blob = struct.pack(
        "<32s12I",
        bytes.fromhex(model.model_id),
        len(config.routed_layers),
        config.num_experts,
        config.num_experts_per_tok,
        config.hidden_size,
        page.size_bytes,
        plan.slots,
        _POLICIES.index(plan.policy),
        plan.paging.prefetch,
        len(places),
        len(bounds),
        len(head),
        layout.stride_bytes,
    )
    blob += _pack_matrix(page.gate_up) + _pack_matrix(page.down)
    blob += places + bytes(-len(places) % 4) + struct.pack(f"<{len(bounds)}H", *bounds)
    blob += bytes(-(_START.size + len(blob)) % 16) + head
    return _START.pack(b"MMXP", _VERSION, zlib.crc32(blob)) + blob


def _pack_matrix(m: PageMatrix) -> bytes:
    return struct.pack("<IHHIII", m.rows, m.columns, m.bits, m.weights, m.group_scales, m.row_scales)


def _blocks(graph: Graph) -> Iterator[Any]:
    """Nodes of the MoE blocks that have experts, in the order of layers."""
    for node in graph.nodes:
        if node.op == "call_function" and "mmoe.moe" in str(node.target) and node.args[_SHAPE_ARGUMENTS][0] > 0:
            yield node


@final
class MmoePagedExperts(BackendDetails):  # type: ignore[misc]
    """Ahead of time: a layer's experts as named data, and what the C side must know of the block."""

    @staticmethod
    def preprocess(edge_program: ExportedProgram, compile_specs: list[CompileSpec]) -> PreprocessResult:
        """One block."""
        options = {spec.key: spec.value for spec in compile_specs}
        (block,) = _blocks(edge_program.graph)
        experts, store = _constant_of(edge_program, block.args[_EXPERTS_ARGUMENT]), NamedDataStore()
        tag = options["file"].decode() or None
        (layer,) = struct.unpack("<I", options["layer"])
        for expert, page in enumerate(experts):
            key = _EXPERT.format(layer * len(experts) + expert)
            store.add_named_data(key, page.numpy().tobytes(), alignment=_ALIGNMENT, external_tag=tag)
        if _PLAN in block.meta:
            store.add_named_data(_PLAN, block.meta[_PLAN], alignment=_ALIGNMENT, external_tag=tag)
        inputs = [node for node in edge_program.graph.nodes if node.op == "placeholder"]
        inputs = [node for node in inputs if node.name in edge_program.graph_signature.user_inputs]
        top_k, width, shared_width, bits, softmax, as_scored, scaling = block.args[_SHAPE_ARGUMENTS]
        processed = struct.pack("<7If", layer, top_k, width, shared_width, bits, softmax, as_scored, scaling)
        processed += struct.pack("<8I", *(inputs.index(node) for node in block.args[:_EXPERTS_ARGUMENT]))
        return PreprocessResult(processed_bytes=processed, data_store_output=store.get_named_data_store_output())


def _constant_of(program: ExportedProgram, node: Any) -> torch.Tensor:
    signature = program.graph_signature
    name = signature.inputs_to_buffers.get(node.name) or signature.inputs_to_parameters.get(node.name)
    constant: torch.Tensor = program.state_dict[name].detach()
    return constant


class PagedPartitioner(Partitioner):  # type: ignore[misc]
    """Gives each block with its experts to the backend; router and shared expert stay constants of the program.

    Args:
        plan: of `pack_plan`.
        file: name of the .ptd that holds the experts, without the suffix; "" for the .pte itself.
    """

    def __init__(self, plan: bytes, file: str = "") -> None:
        self._plan, self._file = plan, file

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Tag the blocks."""
        tags = {}
        for layer, node in enumerate(_blocks(exported_program.graph)):
            tag = f"mmoe_paged_{layer}"
            specs = [CompileSpec("file", self._file.encode()), CompileSpec("layer", struct.pack("<I", layer))]
            if layer == 0:  # not a CompileSpec: the program would keep those as well
                node.meta[_PLAN] = self._plan
            tags[tag] = DelegationSpec(BACKEND, specs)
            for tagged in (node, node.args[_EXPERTS_ARGUMENT]):
                tagged.meta["delegation_tag"] = tag
        return PartitionResult(tagged_exported_program=exported_program, partition_tags=tags)
