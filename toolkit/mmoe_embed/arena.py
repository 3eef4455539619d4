"""The arena of a pass: its planning problem, its drawing, and what re-ordering, sharing and splitting save."""

import dataclasses

import memory_planner
from memory_planner.graph import Graph as StepGraph
from memory_planner.graph import Operator, build_problem, order_operators
from memory_planner.graph import Tensor as StepTensor
from memory_planner.reduction import find_split
from memory_planner.render import svg
from mmoe_embed.graph import Graph, build_graph
from mmoe_embed.quantized import Quantized

ARENA_ALIGNMENT = 16
# what is only told, and never holds up a plan: a graph at its load, as all known ones are, is answered at once
_SPLIT_DEADLINE_S = 1.0
_APART_DEADLINE_S = 0.2


@dataclasses.dataclass(frozen=True)
class ArenaSavings:
    """Bytes of arena that each technique saves on this graph.

    Attributes:
        in_place_bytes: by writing results over an operand that dies; it is done.
        reordering_bytes: by another order of operations; 0 and proven where the order run is the best there is.
        reordering_proven: no order needs less.
        splitting_bytes: by moving one buffer in the middle of its life.
    """

    in_place_bytes: int
    reordering_bytes: int
    reordering_proven: bool
    splitting_bytes: int

    def summary(self) -> str:
        """One line for a person."""
        order = f"{self.reordering_bytes} B" + (" (proven)" if self.reordering_proven else "")
        split = f"{self.splitting_bytes} B"
        return f"in place saves {self.in_place_bytes} B; re-ordering would save {order}, splitting {split}"


def arena_problem(graph: Graph) -> memory_planner.Problem:
    """The arena of a graph as a planning problem: one clock tick per operation."""
    spans = graph.lifetimes()
    return memory_planner.Problem(
        tuple(
            memory_planner.Buffer(name, tensor.size_bytes, *spans[name], alignment=ARENA_ALIGNMENT)
            for name, tensor in graph.tensors.items()
        )
    )


def draw_arena(model: Quantized, chunk: int) -> str:
    """SVG of the arena, address against operation."""
    problem = arena_problem(build_graph(model.config, chunk))
    return svg(problem, memory_planner.solve(problem))


def step_graph(graph: Graph) -> StepGraph:
    """The same operations with a new tensor for every write, so that what shares storage is a choice again."""
    version: dict[str, str] = {}
    tensors: list[StepTensor] = []
    operators: list[Operator] = []
    for op in graph.ops:
        inputs = tuple(version[name] for name in op.inputs)
        inplace = []
        for name in op.outputs:
            old = version.get(name)
            version[name] = name if old is None else f"{name}.{len(tensors)}"
            tensors.append(
                StepTensor(version[name], graph.tensors[name].size_bytes, name == graph.result, ARENA_ALIGNMENT)
            )
            if old is not None:
                inplace.append((version[name], old))
        scratch = graph.tensors[op.scratch].size_bytes if op.scratch else 0
        outputs = tuple(version[name] for name in op.outputs)
        operators.append(Operator(op.name, inputs, outputs, scratch, tuple(inplace), ARENA_ALIGNMENT))
    return StepGraph(tuple(tensors), tuple(operators))


def measure_savings(graph: Graph, arena: memory_planner.Plan) -> ArenaSavings:
    """What each technique saves, against the plan of `arena_problem`."""
    steps = step_graph(graph)
    apart = memory_planner.solve(build_problem(steps, inplace=False), _APART_DEADLINE_S)
    schedule = order_operators(steps)
    split = find_split(arena_problem(graph), _SPLIT_DEADLINE_S)
    return ArenaSavings(
        apart.total_bytes - arena.total_bytes,
        schedule.saved_bytes,
        schedule.proven,
        split.saved_bytes if split else 0,
    )
