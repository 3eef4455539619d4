"""Where every byte of a build lives on a board: arena, KV cache, expert slots, stacks, code and flash."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable

import memory_planner
from mmoe_embed.arena import ArenaSavings, arena_problem, measure_savings
from mmoe_embed.board import RAM_USES, Board, Memory, Storage, Use
from mmoe_embed.checkpoint import Checkpoint
from mmoe_embed.config import MAX_NARROW_VOCABULARY, ModelConfig
from mmoe_embed.errors import FitError, UsageError
from mmoe_embed.experts import MAX_IMAGE_BYTES, ImageLayout, expert_page
from mmoe_embed.graph import Graph, build_graph, kv_layer_bytes
from mmoe_embed.image import Part, Region, fits, free_bytes, place_image
from mmoe_embed.paging.choose import Choice, Workload, choose_placement
from mmoe_embed.paging.cost import ExpertCost, expert_cost
from mmoe_embed.paging.placement import Placement, check_placement
from mmoe_embed.paging.promise import Promise
from mmoe_embed.paging.replay import RUNTIME_POLICIES
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized
from mmoe_embed.storage import FlashModel, check_storage_size, choose_spare_pages, choose_storage, parse_flash_model
from mmoe_embed.weights import count_weights_bytes

FORMAT = 1
POLICIES = tuple(RUNTIME_POLICIES)  # the default first
CHUNKS = (32, 16, 8, 4, 2)  # tokens of one pass, the best first; 1 is what remains
# Where RAM is DRAM, bytes of activations cost little, and each expert is read once a chunk
DRAM_CHUNKS = (256, 128, 64, *CHUNKS)
MAX_CHUNK = 256
_SLOTS_PER_LOST_SLOT = 10  # a larger chunk may cost one expert slot of so many
SLOT_STATE_BYTES = 12  # of the runtime's own data, one a slot: mmoe_slot in firmware/src/mmoe_internal.h
_EXPERT_STATE_BYTES = 12
_LAYER_STATE_BYTES = 40
_EVENT_BYTES = 8
_OP_STATE_BYTES = 12
TOKEN_BYTES = 4  # one of a chunk
# Reads and writes a token of every byte: the runtime's state is touched once an operation or so, a frame many times.
_DATA_ACCESSES = (16, 16)
_STACK_ACCESSES = (64, 64)


@dataclasses.dataclass(frozen=True)
class RuntimeBytes:
    """What the image needs besides the model: estimated before there is an ELF, read from it afterwards.

    The defaults are the linked watch example on a Cortex-M4 with GCC -O3, rounded up.
    """

    text: int = 40960  # code and its constants, tokenizer tables
    data: int = 8192  # .data and .bss besides arena, KV cache, slots and what each slot and each token of a chunk adds
    stack: int = 4096
    measured: bool = False


@dataclasses.dataclass(frozen=True)
class PlanRequest:
    """What the user asks of a plan.

    Attributes:
        expert_slots: None lets the planner fill the SRAM that is left; 0 computes experts in place.
        sram_bytes: use at most this much RAM in all; None is all that the board gives.
        policy: None takes the first of `POLICIES`, or the best for the workload.
        paging: residents and the like; made for a known number of slots.
        prefetch: experts that are guessed and read ahead; None takes those of `paging`, or what pays for the workload.
        storage: the board's driver of that name reads the experts; None is its first.
        spare_pages: of flash, for experts that replace others later; None is 1 where the storage can be written.
        flash_model: SPEED[:LATENCY][:blocking] of a modelled flash, see `storage.parse_flash_model`.
        timeline_events: events that the runtime keeps for a timeline; 8 bytes each.
        instruction_ns: virtual time of an instruction beside it; None is about a cycle of the core.
        chunk: tokens of a prompt that go through the model together; None takes the most that costs few expert slots.
        workload: a routing trace to choose policy and paging for.
        other_ram_bytes: what the rest of the firmware takes, beside the runtime's own data.
    """

    expert_slots: int | None = None
    sram_bytes: int | None = None
    policy: str | None = None
    paging: Placement = Placement()
    prefetch: int | None = None
    storage: str | None = None
    spare_pages: int | None = None
    flash_model: str | None = None
    instruction_ns: int | None = None
    chunk: int | None = None
    timeline_events: int = 0
    workload: Workload | None = None
    other_ram_bytes: int = 0


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
class BoardPlan:
    """The memory plan of one model on one board; plan.json is this, key for key."""

    format: int
    board: str
    model_id: str
    scheme: str
    chunk: int
    arena_bytes: int
    arena_lower_bound_bytes: int
    arena_proven: bool
    arena_savings: ArenaSavings
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
    promise: Promise | None  # of the trace it was planned for
    storage: str
    spare_pages: int
    flash_model: FlashModel | None
    timeline_events: int
    wide_tokens: bool  # a token takes 32 bits in tables
    retained: bool  # experts in slots outlive a reset
    mapped: bool  # the firmware finds the expert image in its address space
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
            f"  arena      {self.arena_bytes:>9} B  {proof}; {self.arena_savings.summary()}",
            f"  prefill    {self.chunk:>9}    tokens of a prompt at a time",
            f"  experts    {self.expert_count:>9}    of {self.expert_bytes} B, {self.expert_mode}"
            + (f", {self.slots} slots, {self.policy}" if self.slots else ""),
        ]
        if self.promise:
            lines += [f"  promise    {self.promise.summary()}", f"  prefetch   {self.promise.describe_prefetch()}"]
        if self.spare_pages:
            spare = f"{self.spare_pages} spare page{'s' if self.spare_pages > 1 else ''} to replace experts"
            lines.append(f"  flash      {self.expert_image_bytes:>9} B  of experts, {spare}")
        lines += [f"  {r.use:<10} {r.size_bytes:>9} B  in {r.memory}" for r in self.regions]
        lines.append(f"  SRAM       {self.sram_used_bytes:>9} B  used, {self.sram_free_bytes} B free")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def input_bytes(config: ModelConfig) -> int:
    """Bytes that one token of a chunk waits in, and a classifier's window."""
    return TOKEN_BYTES + 4 * config.window_size


def choose_scheme(
    checkpoint: Checkpoint,
    board: Board,
    scheme: str,
    request: PlanRequest,
    runtime: RuntimeBytes | None = None,
    quantize: Callable[[str], Quantized] | None = None,
) -> tuple[Quantized, BoardPlan]:
    """Quantize and plan; "auto" takes INT8 where it fits the board, else INT4.

    Args:
        quantize: what makes the model of a scheme; None quantizes the checkpoint.

    Raises:
        FitError: not even INT4 fits, or the scheme that was asked for does not.
    """
    quantize = quantize or functools.partial(quantize_checkpoint, checkpoint)
    if scheme != "auto":
        model = quantize(scheme)
        return model, plan_model(model, board, request, runtime)
    try:
        model = quantize("int8")
        return model, plan_model(model, board, request, runtime)
    except FitError as int8:
        model = quantize("int4")
        try:
            plan = plan_model(model, board, request, runtime)
        except FitError as int4:
            message = f"{int4.message}; this is INT4, INT8 does not fit either"
            try_ = f"--scheme int4 {int4.try_}" if int4.try_.startswith("--") else int4.try_
            raise FitError(message, at=int4.at, try_=try_) from None
        return model, dataclasses.replace(plan, notes=(*plan.notes, f"INT4 was taken, as in INT8 {int8.message}"))


def plan_model(
    model: Quantized, board: Board, request: PlanRequest | None = None, runtime: RuntimeBytes | None = None
) -> BoardPlan:
    """Place a quantized model on a board.

    A prompt is taken in chunks. Unless the request says how large, the chunk is the largest of CHUNKS (of DRAM_CHUNKS
    where that is what RAM is) that changes nothing about how experts are kept, but for one slot in
    _SLOTS_PER_LOST_SLOT.

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
    if request.chunk is not None:
        return _plan_chunk(model, board, request, runtime, request.chunk)
    plan = _search_chunk(model, board, dataclasses.replace(request, workload=None), runtime)
    return plan if request.workload is None else _plan_chunk(model, board, request, runtime, plan.chunk)


def _search_chunk(model: Quantized, board: Board, request: PlanRequest, runtime: RuntimeBytes) -> BoardPlan:
    """The largest chunk that costs few expert slots."""
    smallest = _plan_chunk(model, board, request, runtime, 1)
    chunks = DRAM_CHUNKS if board.memory_for("arena").kind == "dram" else CHUNKS
    for chunk in (chunk for chunk in chunks if chunk <= model.config.max_position_embeddings):
        with contextlib.suppress(FitError, UsageError):
            plan = _plan_chunk(model, board, request, runtime, chunk)
            lost = smallest.slots - plan.slots
            if plan.expert_mode == smallest.expert_mode and lost * _SLOTS_PER_LOST_SLOT <= smallest.slots:
                return plan
    return smallest


def _plan_chunk(model: Quantized, board: Board, request: PlanRequest, runtime: RuntimeBytes, chunk: int) -> BoardPlan:
    config = model.config
    if request.policy not in (None, *POLICIES):
        raise UsageError(f"unknown policy {request.policy!r}; supported: {', '.join(POLICIES)}")
    storage = choose_storage(board, request.storage)
    flash = parse_flash_model(request.flash_model, request.instruction_ns, board) if request.flash_model else None
    mapped = storage.mapped and flash is None
    graph = build_graph(config, chunk)
    problem = arena_problem(graph)
    arena = memory_planner.solve(problem)
    arena_bytes = arena.peak_bytes["arena"]
    kv_bytes = config.num_hidden_layers * kv_layer_bytes(config)
    weights_bytes = count_weights_bytes(model)
    smaller = f"a smaller model, {'--scheme int4, ' if model.scheme == 'int8' else ''}or a board with more flash"
    shorter = "a model with a shorter context (max_position_embeddings) or fewer heads, or a board with more SRAM"
    advice: dict[Use, str] = {
        "text": smaller,
        "rodata": smaller,
        "experts": smaller,
        "data": shorter,
        "stack": shorter,
        "arena": shorter,
        "kv": shorter,
    }
    if not runtime.measured:
        runtime = _estimate_data(runtime, config, len(graph.ops), request.timeline_events)
    data_bytes = runtime.data + input_bytes(config) * chunk + request.other_ram_bytes  # slots add to it

    page = expert_page(model)
    count = config.expert_count
    expert_bytes = page.size_bytes if page else 0
    image = _lay_out_image(board, storage, count, expert_bytes, request.spare_pages)
    image_bytes = image.size_bytes if page else 0
    reads, writes = _arena_accesses(graph, arena_bytes)
    parts = [Part("text", runtime.text), Part("rodata", weights_bytes)]
    parts += [Part("experts", image_bytes)] if page and storage.linked else []
    parts += [
        Part("data", data_bytes, *_DATA_ACCESSES),
        Part("stack", runtime.stack, *_STACK_ACCESSES),
        Part("arena", arena_bytes, reads, writes),
        Part("kv", kv_bytes),
    ]
    place_image(board, parts, advice)

    fixed = data_bytes + runtime.stack + arena_bytes + kv_bytes
    limit = request.sram_bytes
    if limit is not None and limit > (sram_bytes := _ram_free(board, ())):
        raise UsageError(
            f"--sram {limit} is more than {board.name} has: {sram_bytes} B",
            try_=f"--sram {sram_bytes} or less, or a larger board",
        )
    pages = _Pages(count, expert_bytes, config.num_experts_per_tok, len(config.routed_layers))
    in_place = bool(page) and mapped and board.memory_for("experts").xip
    if limit is not None and fixed > limit:
        paged = fixed + pages.least * pages.slot_bytes
        raise FitError(
            f"the model does not fit {limit} B of SRAM: needs {fixed} B without any expert ({fixed - limit} B over)",
            at=f"arena {arena_bytes} B, KV cache {kv_bytes} B, stack {runtime.stack} B, data {data_bytes} B",
            try_=f"--sram {fixed}, experts in place, or {paged}, experts in slots" if in_place else f"--sram {paged}",
        )
    slots, notes = _choose_slots(board, request, pages, parts, fixed, in_place=in_place)
    choice = _choose_paging(request, config, slots, expert_cost(board, model, expert_bytes, flash, in_place=in_place))
    check_placement(choice.placement, config, slots, mapped=in_place)
    regions = place_image(board, pages.add_slots(parts, slots), advice)
    notes += _note_cycle(slots, count, len(config.routed_layers) * config.num_experts_per_tok, choice.policy)
    if margin := choice.placement.cache_margin:
        notes.append(f"routing is cache-aware within {margin:g}; `mmoe-embed margins` measures the loss in perplexity")
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
    used = fixed + slots * pages.slot_bytes
    mode = "none" if not page else "in place" if not slots else "resident" if slots == count else "paged"
    return BoardPlan(
        FORMAT,
        board.name,
        model.model_id,
        model.scheme,
        chunk,
        arena_bytes,
        arena.lower_bound_bytes,
        arena.proven,
        measure_savings(graph, arena),
        buffers,
        kv_layer_bytes(config),
        runtime.stack,
        runtime.measured,
        count,
        expert_bytes,
        slots,
        mode,
        choice.policy,
        choice.placement,
        choice.promise,
        storage.driver,
        image.spare_pages,
        flash,
        request.timeline_events,
        config.vocab_size > MAX_NARROW_VOCABULARY,
        _outlive_reset(board, regions) and choice.placement.cache_margin == 0,  # bits would depend on the reset
        mapped,
        image.alignment,
        image_bytes,
        weights_bytes,
        regions,
        used,
        limit - used if limit is not None else _ram_free(board, regions),
        tuple(notes),
    )


def _estimate_data(runtime: RuntimeBytes, config: ModelConfig, ops: int, events: int) -> RuntimeBytes:
    """The runtime's tables of a model, before there is an image to measure."""
    layer_bytes = _EXPERT_STATE_BYTES * config.num_experts + _LAYER_STATE_BYTES
    tables = len(config.routed_layers) * layer_bytes + _OP_STATE_BYTES * ops + _EVENT_BYTES * events
    if config.is_classifier:
        tables += 8 * config.hidden_size  # what it pools
    return dataclasses.replace(runtime, data=runtime.data + tables)


def _page_alignment(memory: Memory) -> int:
    # pages start where the flash can be written alone, so that one expert can be replaced; 16 where nothing is known
    flash = memory.flash
    return max(16, (flash.page_bytes or flash.write_bytes or 16) if flash else 16)


def _lay_out_image(
    board: Board, storage: Storage, count: int, expert_bytes: int, spare_pages: int | None
) -> ImageLayout:
    if not count:
        return ImageLayout(0, 0, 16)
    alignment, spare = _page_alignment(board.memory_for("experts")), choose_spare_pages(board, storage, spare_pages)
    if spare or storage.driver == "file":  # each page has sectors of its own, so that it is read without its neighbours
        alignment = max(alignment, storage.erase_bytes or 0)
    image = ImageLayout(count, expert_bytes, alignment, spare)
    if image.size_bytes > MAX_IMAGE_BYTES:
        raise FitError(
            f"the expert image is {image.size_bytes} B, its 32-bit offsets reach {MAX_IMAGE_BYTES} B "
            f"({image.size_bytes - MAX_IMAGE_BYTES} B over)",
            at=f"{count} experts of {expert_bytes} B",
            try_="--scheme int4, or a model with fewer or smaller experts",
        )
    check_storage_size(board, storage, image.size_bytes)
    return image


def _outlive_reset(board: Board, regions: Iterable[Region]) -> bool:
    retained = {memory.name for memory in board.memory if memory.retained}
    places = {region.use: region.memory for region in regions if region.use in ("slots", "data")}
    return "slots" in places and retained.issuperset(places.values())


def _arena_accesses(graph: Graph, arena_bytes: int) -> tuple[int, int]:
    """How often a token reads and writes the whole arena."""
    size = {name: tensor.size_bytes for name, tensor in graph.tensors.items()}
    scratch = sum(size[op.scratch] for op in graph.ops if op.scratch)
    read = sum(size[name] for op in graph.ops for name in op.inputs) + scratch
    written = sum(size[name] for op in graph.ops for name in op.outputs) + scratch
    return -(-read // max(1, arena_bytes)), -(-written // max(1, arena_bytes))


def _ram_free(board: Board, regions: Iterable[Region]) -> int:
    free = free_bytes(board, tuple(regions))
    return sum(free[memory.name] for memory in board.memory if set(RAM_USES) & set(memory.use))


@dataclasses.dataclass(frozen=True)
class _Pages:
    """The experts, as far as their slots are concerned."""

    count: int
    expert_bytes: int
    top_k: int
    layers: int

    @property
    def least(self) -> int:
        """Slots that paging needs: those of one token in a layer, and one that loads."""
        return min(self.top_k + 1, self.count)

    @property
    def slot_bytes(self) -> int:
        """What one slot takes: a page, and what the runtime knows of it."""
        return self.expert_bytes + SLOT_STATE_BYTES

    def add_slots(self, parts: list[Part], slots: int) -> list[Part]:
        """The parts with an array of slots, whose state is among the runtime's data."""
        if not slots:
            return parts
        state = {"data": slots * SLOT_STATE_BYTES}
        grown = [dataclasses.replace(p, size_bytes=p.size_bytes + state.get(p.use, 0)) for p in parts]
        return [*grown, Part("slots", slots * self.expert_bytes, -(-self.top_k * self.layers // slots))]

    def most(self, board: Board, parts: list[Part], spare: int | None) -> int:
        """The largest number of slots that fits beside all other parts, however they are placed, in `spare` bytes."""
        low, high = 0, self.count if spare is None else min(self.count, spare // self.slot_bytes)
        while low < high:
            middle = (low + high + 1) // 2
            if fits(board, self.add_slots(parts, middle)):
                low = middle
            else:
                high = middle - 1
        return low


def _choose_slots(
    board: Board, request: PlanRequest, pages: _Pages, parts: list[Part], fixed: int, *, in_place: bool
) -> tuple[int, list[str]]:
    """(slots, notes); `fixed` bytes of SRAM are taken by the other parts."""
    count, limit = pages.count, request.sram_bytes
    if not count:
        return 0, []
    least = pages.least
    most = pages.most(board, parts, None if limit is None else limit - fixed)
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
                f"experts cannot be computed in place on {board.name}: its expert storage is not memory-mapped",
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
        needed, short = wanted * pages.slot_bytes, (wanted - most) * pages.slot_bytes
        if most >= least:
            advice = f"--expert-slots {most}"
        elif limit is not None and fits(board, pages.add_slots(parts, wanted)):
            advice = f"--sram {fixed + needed}"
        else:
            advice = "a board with more SRAM, or a model with smaller or fewer experts a token"
        raise FitError(
            f"expert slots do not fit {board.name}: {wanted} need {needed} B, there is room for {most} "
            f"({short} B over)",
            at="the SRAM left by arena, KV cache, stack and data",
            try_=advice,
        )
    return wanted, []


def _choose_paging(request: PlanRequest, config: ModelConfig, slots: int, cost: ExpertCost) -> Choice:
    """The user's policy and placement, or those that suit the workload best."""
    count, paged = config.expert_count, request.paging
    if request.prefetch is not None:
        paged = dataclasses.replace(paged, prefetch=request.prefetch)
    if request.workload is None or not 0 < slots < count:
        return Choice(request.policy or POLICIES[0], paged, None)
    return choose_placement(
        request.workload,
        config,
        slots,
        cost,
        policy=request.policy,
        prefetch=request.prefetch,
        cache_margin=paged.cache_margin,
    )


def _note_cycle(slots: int, count: int, cycle: int, policy: str) -> list[str]:
    if not 0 < slots < cycle:
        return []
    lost = "; LRU would evict every expert before its next use: prefer --policy wait" if policy == "lru" else ""
    return [f"{slots} slots are fewer than the {cycle} experts one token uses over all layers{lost}"]
