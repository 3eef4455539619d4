"""memory_planner as ExecuTorch's memory-planning algorithm."""

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from executorch.exir.memory_planning import MemoryAlgoResult, SpecAllocResult, greedy
from executorch.exir.tensor import TensorSpec
from torch.export import ExportGraphSignature
from torch.fx import GraphModule

import memory_planner
from memory_planner.solver import DEFAULT_DEADLINE_S
from mmoe_embed.errors import ToolkitError

DEFAULT_ARENA = 1  # memory id of what no pass has put elsewhere; 0 holds constants
_META = "mmoe_embed.memory_plan"  # key of GraphModule.meta
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ArenaReport:
    """One planned memory of one graph.

    Attributes:
        mem_id: ExecuTorch's memory id.
        size_bytes: what the program will ask for: reserved bytes, tensors and padding.
        lower_bound_bytes: no placement of these tensors over these lifetimes needs fewer.
        proven: size_bytes is proven smallest.
        greedy_bytes: what ExecuTorch's own greedy needs for the same.
    """

    mem_id: int
    size_bytes: int
    lower_bound_bytes: int
    proven: bool
    greedy_bytes: int


def memory_planning_algo(
    alignment: int,
    specs: Iterable[TensorSpec],
    graph_module: GraphModule,
    graph_signature: ExportGraphSignature | None = None,
    extra_padding: int = 0,
    *,
    deadline_s: float = DEFAULT_DEADLINE_S,
) -> list[int]:
    """Plan the memory of an ExecuTorch program: `MemoryPlanningPass(memory_planning_algo)`.

    Never larger than ExecuTorch's greedy, from whose plan the search starts. What was reached and whether it is proven
    smallest is in the program afterwards: `read_reports`.

    Args:
        alignment: bytes; offsets are multiples of it.
        specs: tensors with lifetimes; a `mem_id` that an earlier pass has set is kept.
        graph_module: `input_mem_buffer_sizes` are kept free at the start of each memory, for control flow.
        graph_signature: not used; part of ExecuTorch's interface.
        extra_padding: bytes added to the end of each memory.
        deadline_s: wall time for each memory; `functools.partial` sets another one.

    Returns:
        Bytes of each memory, by memory id.
    """
    specs = list(specs)
    result = plan_specs(alignment, specs, graph_module, graph_signature, extra_padding, deadline_s=deadline_s)
    for spec, place in result.spec_dict.items():
        spec.mem_id, spec.mem_obj_id, spec.mem_offset = place.mem_id, place.mem_obj_id, place.mem_offset
    sizes: list[int] = result.bufsizes
    return sizes


def plan_specs(
    alignment: int,
    specs: Iterable[TensorSpec],
    graph_module: GraphModule,
    graph_signature: ExportGraphSignature | None = None,
    extra_padding: int = 0,
    *,
    deadline_s: float = DEFAULT_DEADLINE_S,
) -> MemoryAlgoResult:
    """`memory_planning_algo` for a `MemoryPlanningAlgorithmSuite`: returns the plan and changes no spec."""
    specs = list(specs)
    base_plan = greedy(alignment, specs, graph_module, graph_signature, extra_padding)
    reserved = getattr(graph_module, "input_mem_buffer_sizes", None) or []
    arenas: dict[int, list[TensorSpec]] = defaultdict(list)
    for spec in specs:
        if spec.storage_base is None:
            arenas[DEFAULT_ARENA if spec.mem_id is None else spec.mem_id].append(spec)
    sizes = [0] * max(2, len(reserved), 1 + max(arenas, default=0))
    sizes[1 : len(reserved)] = reserved[1:]
    places: dict[TensorSpec, SpecAllocResult] = {}
    reports = []
    for mem_id, members in sorted(arenas.items()):
        start = -(-sizes[mem_id] // alignment) * alignment
        plan = _solve(alignment, members, base_plan, start, deadline_s)
        for number, spec in enumerate(members):
            # one object a memory: ExecuTorch's verifier wants tensors that share bytes to share their object
            places[spec] = SpecAllocResult(mem_id, 0, start + plan.offset_of(str(number)))
        sizes[mem_id] = start + plan.total_bytes + extra_padding
        bound = start + plan.lower_bound_bytes + extra_padding
        reports.append(ArenaReport(mem_id, sizes[mem_id], bound, plan.proven, base_plan.bufsizes[mem_id]))
        _log.info("%s", reports[-1])
    for spec in specs:
        _place_backed(spec, places)
    graph_module.meta[_META] = tuple(reports)
    return MemoryAlgoResult(places, sizes)


def read_reports(graph_module: GraphModule) -> tuple[ArenaReport, ...]:
    """The reports of a planned graph: `read_reports(program.exported_program("forward").graph_module)`.

    Raises:
        ToolkitError: the graph was planned by something else.
    """
    reports: Any = graph_module.meta.get(_META)
    if reports is None:
        raise ToolkitError(
            "this graph was not planned by memory_planner",
            try_="to_executorch(ExecutorchBackendConfig(MemoryPlanningPass(memory_planning_algo)))",
        )
    return tuple(reports)


def _solve(
    alignment: int, members: list[TensorSpec], base_plan: MemoryAlgoResult, start: int, deadline_s: float
) -> memory_planner.Plan:
    """Solve one memory, from the greedy's plan on; buffers are called by their index."""
    buffers, placements = [], {}
    for number, spec in enumerate(members):
        first, last = spec.lifetime  # indices of nodes, both inclusive
        buffers.append(memory_planner.Buffer(str(number), spec.allocated_memory, first, last + 1, alignment))
        offset = base_plan.spec_dict[spec].mem_offset - start
        placements[str(number)] = memory_planner.Placement("arena", offset)
    greedy_plan = memory_planner.Plan(placements, {}, 0, False)
    return memory_planner.solve(memory_planner.Problem(tuple(buffers)), deadline_s, start=greedy_plan)


def _place_backed(spec: TensorSpec, places: dict[TensorSpec, SpecAllocResult]) -> SpecAllocResult:
    """Place a tensor that lives inside another one's storage, after that one."""
    if spec not in places:
        base = spec.storage_base
        if base is None:
            raise ToolkitError("a tensor is backed by one that is not planned", at=repr(spec))
        inside = _place_backed(base, places)
        places[spec] = SpecAllocResult(inside.mem_id, inside.mem_obj_id, inside.mem_offset + spec.storage_base_offset)
    return places[spec]
