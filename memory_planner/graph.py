"""Operator graphs: order the operators so that fewer bytes are alive, before any offset is chosen."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memory_planner.errors import DuplicateNameError, GraphError, UnknownNameError
from memory_planner.problem import DEFAULT_POOL, Buffer, Pool, Problem, check_whole

EXACT_STATES = 200_000  # sets of finished operators looked at before the beam takes over
BEAM_STEPS = 40_000  # operators times beam width: where more, the beam is narrower, as long graphs would take minutes


@dataclass(frozen=True)
class Tensor:
    """keep: alive to the end, as an output of the graph is; pools and alignment as of a buffer."""

    name: str
    size_bytes: int
    keep: bool = False
    alignment: int = 1
    pools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operator:
    """Reads inputs, writes outputs; all are alive while it runs, with scratch_bytes more.

    Args:
        inplace: (output, input) pairs of names: the output may take the input's storage where nobody reads the
            input later.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch_bytes: int = 0
    inplace: tuple[tuple[str, str], ...] = ()
    scratch_alignment: int = 1


@dataclass(frozen=True)
class Graph:
    """Tensors and operators, the operators in a valid order. A tensor that no operator writes is an input, alive
    from the beginning; one that nobody reads dies with its writer unless kept.

    Raises:
        PlannerError: unknown or doubled names, two writers, or an operator before its input's writer.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]

    def __post_init__(self) -> None:
        names = [t.name for t in self.tensors]
        if len(set(names)) != len(names) or len({o.name for o in self.operators}) != len(self.operators):
            raise DuplicateNameError("two tensors or two operators of the graph have one name")
        known = set(names)
        written: set[str] = set()
        for tensor in self.tensors:
            check_whole(tensor.size_bytes, f"size of tensor '{tensor.name}'", 0)
        later = {name for o in self.operators for name in o.outputs}
        for o in self.operators:
            check_whole(o.scratch_bytes, f"scratch of operator '{o.name}'", 0)
            for name in (*o.inputs, *o.outputs):
                if name not in known:
                    raise UnknownNameError(f"operator '{o.name}' names tensor '{name}', which the graph does not have")
            for name in o.inputs:
                if name in later:
                    raise GraphError(
                        f"operator '{o.name}' reads '{name}' before it is written: a cycle, or out of order"
                    )
            for name in o.outputs:
                if name in written:
                    raise GraphError(f"tensor '{name}' is written twice, the second time by operator '{o.name}'")
                written.add(name)
            for output, source in o.inplace:
                if output not in o.outputs or source not in known:
                    raise GraphError(
                        f"operator '{o.name}' writes '{output}' in place of '{source}': must be one of its outputs, in "
                        "place of a tensor of the graph"
                    )
            later -= set(o.outputs)


@dataclass(frozen=True)
class Schedule:
    """An order of the operators.

    Args:
        order: indices into Graph.operators.
        peak_bytes: most bytes alive at one operator.
        given_peak_bytes: the same for the order given.
        proven: no order has a smaller peak.
    """

    order: tuple[int, ...]
    peak_bytes: int
    given_peak_bytes: int
    proven: bool

    @property
    def saved_bytes(self) -> int:
        return self.given_peak_bytes - self.peak_bytes


class Liveness:
    """Bytes alive while an operator runs, given the set of operators that ran before (a bit mask)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        index = {t.name: i for i, t in enumerate(graph.tensors)}
        self.size = [t.size_bytes for t in graph.tensors]
        self.inputs = [sorted({index[n] for n in o.inputs}) for o in graph.operators]
        self.outputs = [sorted({index[n] for n in o.outputs}) for o in graph.operators]
        self.readers = [0] * len(graph.tensors)
        writer: dict[int, int] = {}
        for k, (reads, writes) in enumerate(zip(self.inputs, self.outputs, strict=True)):
            for t in reads:
                self.readers[t] |= 1 << k
            writer |= dict.fromkeys(writes, k)
        self.keep = [t.keep for t in graph.tensors]
        self.needs = [sum({1 << writer[t] for t in reads if t in writer}) for reads in self.inputs]
        self.followers: list[list[int]] = [[] for _ in self.inputs]
        for k, reads in enumerate(self.inputs):
            for before in {writer[t] for t in reads if t in writer}:
                self.followers[before].append(k)
        self.start = sum(self.size[t] for t in range(len(self.size)) if t not in writer and self.lives(t, 0))

    def lives(self, tensor: int, done: int) -> bool:
        return self.keep[tensor] or bool(self.readers[tensor] & ~done)

    def run(self, done: int, alive: int, k: int) -> tuple[int, int]:
        """(bytes while operator k runs, bytes alive after it)."""
        during = alive + sum(self.size[t] for t in self.outputs[k]) + self.graph.operators[k].scratch_bytes
        after = done | 1 << k
        freed = sum(self.size[t] for t in {*self.inputs[k], *self.outputs[k]} if not self.lives(t, after))
        return during, during - self.graph.operators[k].scratch_bytes - freed

    def peak(self, order: Iterable[int]) -> int:
        done, alive, peak = 0, self.start, self.start
        for k in order:
            during, alive = self.run(done, alive, k)
            done |= 1 << k
            peak = max(peak, during)
        return peak

    def first_ready(self) -> tuple[int, ...]:
        return tuple(k for k, needs in enumerate(self.needs) if needs == 0)

    def next_ready(self, ready: tuple[int, ...], k: int, done: int) -> tuple[int, ...]:
        """What can run after operator k, which was ready; done includes it."""
        return (*(r for r in ready if r != k), *(f for f in self.followers[k] if self.needs[f] & ~done == 0))


def order_operators(graph: Graph, beam_width: int = 64, states: int = EXACT_STATES) -> Schedule:
    """Find an order with a small peak: exactly by best-first search over the sets of finished operators, with a beam
    where there are too many of them. Never worse than the order given.
    """
    live = Liveness(graph)
    given = tuple(range(len(graph.operators)))
    given_peak = live.peak(given)
    exact = search_orders(live, states)
    if exact is not None:
        return Schedule(exact, live.peak(exact), given_peak, True)
    width = max(1, min(beam_width, BEAM_STEPS // len(given)))
    best = min((search_beam(live, width), given), key=live.peak)
    return Schedule(best, live.peak(best), given_peak, False)


def search_orders(live: Liveness, states: int) -> tuple[int, ...] | None:
    """The order of the smallest peak (a bottleneck shortest path), or None past the limit of states."""
    whole = (1 << len(live.inputs)) - 1
    heap = [(live.start, 0, 0, live.start, live.first_ready())]
    came: dict[int, tuple[int, int]] = {}
    seen: set[int] = set()
    known = {0: live.start}
    while heap and len(known) <= states:
        peak, _, done, alive, ready = heapq.heappop(heap)
        if done in seen:
            continue
        seen.add(done)
        if done == whole:
            order: list[int] = []
            while done:
                done, k = came[done]
                order.append(k)
            return tuple(reversed(order))
        for k in ready:
            during, after = live.run(done, alive, k)
            state = done | 1 << k
            cost = max(peak, during)
            if cost < known.get(state, cost + 1):
                known[state] = cost
                came[state] = (done, k)
                heapq.heappush(heap, (cost, -state.bit_count(), state, after, live.next_ready(ready, k, state)))
    return None


@dataclass(frozen=True)
class Partial:
    """The beginning of an order: `done` ran, k last of them, after those of `before`; `ready` can run next."""

    peak: int
    alive: int
    done: int
    k: int
    before: Partial | None
    ready: tuple[int, ...]


def search_beam(live: Liveness, width: int) -> tuple[int, ...]:
    """The best of `width` partial orders at every length."""
    beam = [Partial(live.start, live.start, 0, -1, None, live.first_ready())]
    for _ in live.inputs:
        following: dict[int, tuple[int, int, int, Partial]] = {}
        for part in beam:
            for k in part.ready:
                during, alive = live.run(part.done, part.alive, k)
                done, peak = part.done | 1 << k, max(part.peak, during)
                if done not in following or (peak, alive) < following[done][:2]:
                    following[done] = (peak, alive, k, part)
        chosen = heapq.nsmallest(width, following.items(), key=lambda item: (*item[1][:2], item[0]))
        beam = [
            Partial(peak, alive, done, k, part, live.next_ready(part.ready, k, done))
            for done, (peak, alive, k, part) in chosen
        ]
    order = []
    last = beam[0]
    while last.before is not None:
        order.append(last.k)
        last = last.before
    return tuple(reversed(order))


def check_order(graph: Graph, order: tuple[int, ...]) -> None:
    if sorted(order) != list(range(len(graph.operators))):
        raise GraphError("the order does not name every operator once")
    place = {k: at for at, k in enumerate(order)}
    for k, followers in enumerate(Liveness(graph).followers):
        for follower in followers:
            if place[follower] < place[k]:
                names = (graph.operators[follower].name, graph.operators[k].name)
                raise GraphError(f"the order runs operator '{names[0]}' before '{names[1]}', which writes its input")


def share_storage(graph: Graph, order: tuple[int, ...], death: dict[str, int]) -> dict[str, str]:
    """Alias groups from the in-place pairs that the order allows: tensor -> group."""
    group: dict[str, str] = {}
    size = {t.name: t.size_bytes for t in graph.tensors}
    taken = {t.name for t in graph.tensors if t.keep}
    for at, k in enumerate(order):
        for output, source in graph.operators[k].inplace:
            dies = death[source] == at + 1 and source not in taken
            if dies and size[output] <= size[source] and output not in group:
                group[output] = group.setdefault(source, source)
                taken.add(source)
    return group


def build_problem(
    graph: Graph, order: Sequence[int] | None = None, pools: tuple[Pool, ...] = (DEFAULT_POOL,), inplace: bool = True
) -> Problem:
    """Lifetimes for an order: operator i of it runs during [i, i + 1). In-place pairs become alias groups where the
    input dies there, is not kept and is at least as large; only one output takes the place of an input.

    Raises:
        GraphError: the order does not name every operator once, each after the writers of its inputs.
    """
    order = tuple(range(len(graph.operators))) if order is None else tuple(order)
    check_order(graph, order)
    end = max(1, len(order))
    birth = {t.name: 0 for t in graph.tensors}
    death = {t.name: end if t.keep else 1 for t in graph.tensors}
    for at, k in enumerate(order):
        for name in graph.operators[k].outputs:
            birth[name] = at
            death[name] = max(death[name], at + 1)
        for name in graph.operators[k].inputs:
            death[name] = max(death[name], at + 1)
    group = share_storage(graph, order, death) if inplace else {}
    buffers = [
        Buffer(t.name, t.size_bytes, birth[t.name], death[t.name], t.alignment, t.pools, group=group.get(t.name))
        for t in graph.tensors
    ]
    for at, k in enumerate(order):
        if graph.operators[k].scratch_bytes:
            scratch = graph.operators[k]
            name = f"{scratch.name}.scratch"
            buffers.append(Buffer(name, scratch.scratch_bytes, at, at + 1, scratch.scratch_alignment))
    return Problem(tuple(buffers), pools)
