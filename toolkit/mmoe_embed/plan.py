"""Where every byte of a build lives on a board: arena, KV cache, expert slots, stacks, code and flash."""

import dataclasses
import json
from collections.abc import Iterable

import memory_planner
from memory_planner.render import svg
from mmoe_embed.board import Board, Memory, Use
from mmoe_embed.checkpoint import Checkpoint
from mmoe_embed.errors import FitError, UsageError
from mmoe_embed.experts import expert_page, image_size_bytes
from mmoe_embed.graph import Graph, build_graph, kv_layer_bytes
from mmoe_embed.paging.placement import Placement, check_placement
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized
from mmoe_embed.weights import build_weights

FORMAT = 1
ARENA_ALIGNMENT = 16
POLICIES = ("lru", "lfu")
_SLOT_STATE_BYTES = 16  # of the runtime's own data, one a slot (firmware/src/mmoe_internal.h)
_EXPERT_STATE_BYTES = 12
_LAYER_STATE_BYTES = 40
_OP_STATE_BYTES = 12
_RAM_USES: tuple[Use, ...] = ("data", "stack", "arena", "kv", "slots")


@dataclasses.dataclass(frozen=True)
class RuntimeBytes:
    """What the image needs besides the model: estimated before there is an ELF, read from it afterwards.

    The defaults are the linked watch example on a Cortex-M4 with GCC -O3, rounded up.
    """

    text: int = 40960  # code and its constants, tokenizer tables
    data: int = 8192  # .data and .bss besides arena, KV cache and slots
    stack: int = 4096
    measured: bool = False


@dataclasses.dataclass(frozen=True)
class PlanRequest:
    """What the user asks of a plan.

    Attributes:
        expert_slots: None lets the planner fill the SRAM that is left; 0 computes experts in place.
        sram_bytes: use at most this much RAM in all; None is all that the board gives.
        paging: residents and the like; made for a known number of slots.
    """

    expert_slots: int | None = None
    sram_bytes: int | None = None
    policy: str = "lfu"
    paging: Placement = Placement()


@dataclasses.dataclass(frozen=True)
class ArenaBuffer:
    """One buffer of the arena."""

    name: str
    type: str
    shape: tuple[int, ...]
    size_bytes: int
    offset: int
    first_op: int
    last_op: int


@dataclasses.dataclass(frozen=True)
class Region:
    """One thing that takes room in one memory."""

    use: Use
    memory: str
    size_bytes: int


@dataclasses.dataclass(frozen=True)
class BoardPlan:
    """The memory plan of one model on one board; plan.json is this, key for key."""

    format: int
    board: str
    model_id: str
    scheme: str
    arena_bytes: int
    arena_lower_bound_bytes: int
    arena_proven: bool
    arena: tuple[ArenaBuffer, ...]
    kv_layer_bytes: int
    stack_bytes: int
    runtime_measured: bool
    expert_count: int
    expert_bytes: int
    slots: int
    expert_mode: str  # "none", "resident", "paged" or "in place"
    policy: str
    paging: Placement
    page_alignment: int
    expert_image_bytes: int
    weights_bytes: int
    regions: tuple[Region, ...]
    sram_used_bytes: int
    sram_free_bytes: int
    notes: tuple[str, ...]

    def memory_of(self, use: Use) -> str:
        """Name of the board's memory that holds `use`."""
        return next(region.memory for region in self.regions if region.use == use)

    def to_json(self) -> str:
        """plan.json."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    def summary(self) -> str:
        """A few lines for a person."""
        proof = "proven smallest" if self.arena_proven else f"lower bound {self.arena_lower_bound_bytes} B"
        lines = [
            f"plan for {self.board}, {self.scheme}",
            f"  arena      {self.arena_bytes:>9} B  {proof}",
            f"  experts    {self.expert_count:>9}    of {self.expert_bytes} B, {self.expert_mode}"
            + (f", {self.slots} slots, {self.policy}" if self.slots else ""),
        ]
        lines += [f"  {r.use:<10} {r.size_bytes:>9} B  in {r.memory}" for r in self.regions]
        lines.append(f"  SRAM       {self.sram_used_bytes:>9} B  used, {self.sram_free_bytes} B free")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def arena_problem(graph: Graph) -> memory_planner.Problem:
    """The arena of a graph as a planning problem: one clock tick per operation."""
    spans = graph.lifetimes()
    return memory_planner.Problem(
        tuple(
            memory_planner.Buffer(name, tensor.size_bytes, *spans[name], alignment=ARENA_ALIGNMENT)
            for name, tensor in graph.tensors.items()
        )
    )


def draw_arena(model: Quantized) -> str:
    """SVG of the arena, address against operation."""
    problem = arena_problem(build_graph(model.config))
    return svg(problem, memory_planner.solve(problem))


def choose_scheme(
    checkpoint: Checkpoint, board: Board, scheme: str, request: PlanRequest, runtime: RuntimeBytes | None = None
) -> tuple[Quantized, BoardPlan]:
    """Quantize and plan; "auto" takes INT8 where it fits the board, else INT4.

    Raises:
        FitError: not even INT4 fits, or the scheme that was asked for does not.
    """
    if scheme != "auto":
        model = quantize_checkpoint(checkpoint, scheme)
        return model, plan_model(model, board, request, runtime)
    try:
        model = quantize_checkpoint(checkpoint, "int8")
        return model, plan_model(model, board, request, runtime)
    except FitError as int8:
        model = quantize_checkpoint(checkpoint, "int4")
        try:
            plan = plan_model(model, board, request, runtime)
        except FitError as int4:
            raise FitError(f"{int4.message}; this is INT4, INT8 needs more", at=int4.at, try_=int4.try_) from None
        return model, dataclasses.replace(plan, notes=(*plan.notes, f"INT4 was taken, as in INT8 {int8.message}"))


class _Room:
    """What is left of each memory while regions are put into it, in the board file's order of preference."""

    def __init__(self, board: Board, model: Quantized) -> None:
        self.board, self.model = board, model
        self.free = {memory.name: memory.usable_bytes for memory in board.memory}
        self.regions: list[Region] = []

    def candidates(self, use: Use) -> list[Memory]:
        self.board.memory_for(use)  # a board without any memory for this use is an error of the board file
        return [memory for memory in self.board.memory if use in memory.use]

    def put(self, use: Use, size_bytes: int, try_: str) -> None:
        memories = self.candidates(use)
        memory = next((m for m in memories if self.free[m.name] >= size_bytes), None)
        if memory is None:
            best = max(memories, key=lambda m: self.free[m.name])
            room = self.free[best.name]
            taken = ", ".join(f"{r.use} {r.size_bytes} B" for r in self.regions if r.memory == best.name)
            raise FitError(
                f"{use} does not fit {self.board.name}: needs {size_bytes} B, has {max(room, 0)} B "
                f"({size_bytes - max(room, 0)} B over)",
                at=f"memory {best.name} of {best.usable_bytes} B" + (f", which holds {taken}" if taken else ""),
                try_=try_,
            )
        self.free[memory.name] -= size_bytes
        self.regions.append(Region(use, memory.name, size_bytes))


def plan_model(
    model: Quantized, board: Board, request: PlanRequest | None = None, runtime: RuntimeBytes | None = None
) -> BoardPlan:
    """Place a quantized model on a board.

    Args:
        model: the quantized model.
        board: its memories decide everything.
        request: the user's limits.
        runtime: sizes of the image besides the model.

    Raises:
        FitError: something does not fit; the message has the sizes, the memory and what to try.
        UsageError: unknown policy, or fewer slots than a token needs.
    """
    request, runtime = request or PlanRequest(), runtime or RuntimeBytes()
    config = model.config
    if request.policy not in POLICIES:
        raise UsageError(f"unknown policy {request.policy!r}; supported: {', '.join(POLICIES)}")
    graph = build_graph(config)
    problem = arena_problem(graph)
    arena = memory_planner.solve(problem)
    arena_bytes = arena.peak_bytes["arena"]
    kv_bytes = config.num_hidden_layers * kv_layer_bytes(config)
    weights = build_weights(model)
    room = _Room(board, model)
    smaller = "a smaller model, --scheme int4, or a board with more flash"
    shorter = "a model with a shorter context (max_position_embeddings) or fewer heads, or a board with more SRAM"
    if not runtime.measured:
        tables = _EXPERT_STATE_BYTES * config.num_hidden_layers * config.num_experts + _OP_STATE_BYTES * len(graph.ops)
        tables += _LAYER_STATE_BYTES * config.num_hidden_layers
        runtime = dataclasses.replace(runtime, data=runtime.data + tables)
    room.put("text", runtime.text, smaller)
    room.put("rodata", len(weights.data), smaller)

    page = expert_page(model)
    count = config.num_hidden_layers * config.num_experts
    expert_bytes = page.size_bytes if page else 0
    alignment = _page_alignment(room.candidates("experts")) if page else 16
    image_bytes = image_size_bytes(count, expert_bytes, alignment) if page else 0
    if page:
        room.put("experts", image_bytes, smaller)
    ram: dict[Use, int] = {"data": runtime.data, "stack": runtime.stack, "arena": arena_bytes, "kv": kv_bytes}
    for use, size in ram.items():
        room.put(use, size, shorter)

    fixed = runtime.data + runtime.stack + arena_bytes + kv_bytes
    limit = request.sram_bytes
    if limit is not None and limit > (sram_bytes := _ram_free(_Room(board, model))):
        raise UsageError(
            f"--sram {limit} is more than {board.name} has: {sram_bytes} B",
            try_=f"--sram {sram_bytes} or less, or a larger board",
        )
    if limit is not None and fixed > limit:
        raise FitError(
            f"the model does not fit {limit} B of SRAM: needs {fixed} B without any expert ({fixed - limit} B over)",
            at=f"arena {arena_bytes} B, KV cache {kv_bytes} B, stack {runtime.stack} B, data {runtime.data} B",
            try_=f"--sram {fixed + (config.num_experts_per_tok + 1) * expert_bytes}",
        )
    slots, notes = _choose_slots(room, request, count, expert_bytes, None if limit is None else limit - fixed)
    check_placement(request.paging, config, slots, mapped=bool(page) and board.memory_for("experts").xip)
    if slots:
        room.put("slots", slots * expert_bytes, f"--expert-slots {max(0, slots - 1)}")
    notes += _note_cycle(slots, count, config.num_hidden_layers * config.num_experts_per_tok, request.policy)
    spans = graph.lifetimes()
    buffers = tuple(
        ArenaBuffer(
            t.name,
            t.type,
            t.shape,
            t.size_bytes,
            arena.placements[t.name].offset,
            spans[t.name][0],
            spans[t.name][1] - 1,
        )
        for t in graph.tensors.values()
    )
    used = fixed + slots * expert_bytes
    mode = "none" if not page else "in place" if not slots else "resident" if slots == count else "paged"
    return BoardPlan(
        FORMAT,
        board.name,
        model.model_id,
        model.scheme,
        arena_bytes,
        arena.lower_bound_bytes,
        arena.proven,
        buffers,
        kv_layer_bytes(config),
        runtime.stack,
        runtime.measured,
        count,
        expert_bytes,
        slots,
        mode,
        request.policy,
        request.paging,
        alignment,
        image_bytes,
        len(weights.data),
        tuple(room.regions),
        used,
        limit - used if limit is not None else _ram_free(room),
        tuple(notes),
    )


def _page_alignment(memories: Iterable[Memory]) -> int:
    # pages start where the flash can be written alone, so that one expert can be replaced; 16 where nothing is known
    flash = next(iter(memories)).flash
    return max(16, (flash.page_bytes or flash.write_bytes or 16) if flash else 16)


def _ram_free(room: _Room) -> int:
    ram = {memory.name for use in _RAM_USES for memory in room.board.memory if use in memory.use}
    return sum(room.free[name] for name in ram)


def _choose_slots(
    room: _Room, request: PlanRequest, count: int, expert_bytes: int, limit: int | None
) -> tuple[int, list[str]]:
    if not count:
        return 0, []
    board, least = room.board, room.model.config.num_experts_per_tok + 1
    least = min(least, count)
    in_place = board.memory_for("experts").xip
    free = max(room.free[memory.name] for memory in room.candidates("slots"))
    most = min(count, (free if limit is None else min(free, limit)) // (expert_bytes + _SLOT_STATE_BYTES))
    wanted = request.expert_slots
    if wanted is None:
        if most >= least:
            return most, []
        if in_place:
            return 0, [f"room for {most} expert slots, {least} are needed: experts are computed in place from flash"]
        wanted = least
    elif wanted == 0:
        if not in_place:
            raise UsageError(
                f"experts cannot be computed in place on {board.name}: its expert memory is not memory-mapped",
                try_=f"--expert-slots {least} or more",
            )
        return 0, []
    elif wanted < least:
        raise UsageError(
            f"{wanted} expert slots are too few: a token uses {least - 1} experts and one more is loading",
            try_=f"--expert-slots {least} or more" + (", or 0 to compute in place" if in_place else ""),
        )
    wanted = min(wanted, count)
    if wanted > most:
        short = (wanted - most) * expert_bytes
        raise FitError(
            f"expert slots do not fit {board.name}: {wanted} need {wanted * expert_bytes} B, there is room for {most} "
            f"({short} B over)",
            at="the SRAM left by arena, KV cache, stack and data",
            try_=f"--expert-slots {most}" if most >= least else f"--sram with {short} B more, or a larger board",
        )
    return wanted, []


def _note_cycle(slots: int, count: int, cycle: int, policy: str) -> list[str]:
    if not 0 < slots < cycle:
        return []
    lost = "; LRU would evict every expert before its next use: prefer --policy lfu" if policy == "lru" else ""
    return [f"{slots} slots are fewer than the {cycle} experts one token uses over all layers{lost}"]
