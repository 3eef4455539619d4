"""The design with the lowest predicted loss that a board can run, and the Pareto front behind it."""

import dataclasses
import functools

from mmoe_embed.board import RAM_USES, Board, Use
from mmoe_embed.design.candidates import Candidate, list_candidates
from mmoe_embed.design.costs import Cost, Meter
from mmoe_embed.design.law import Law
from mmoe_embed.errors import FitError
from mmoe_embed.plan import BoardPlan, RuntimeBytes
from mmoe_embed.storage import choose_storage

_FLASH_USES: tuple[Use, ...] = ("text", "rodata", "experts")
_STEP = 0.9  # each design of the front takes at most this share of the instructions of the one before
_POINTS = 12


@dataclasses.dataclass(frozen=True)
class DesignRequest:
    """What is asked of a design.

    Attributes:
        tokens_per_s: a decoded token takes at most 1 / this, an instruction counted as a cycle; None for no limit.
        context: max_position_embeddings.
        tokens: that it will be trained on.
        vocabulary: of its tokenizer.
        sram_bytes: use at most this much; None for all of the board.
    """

    tokens_per_s: float | None = None
    context: int = 256
    tokens: int = 3_000_000
    vocabulary: int = 1024
    sram_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Point:
    """A design of the Pareto front, as the planner has it; only the first is planned with prompts in chunks."""

    candidate: Candidate
    plan: BoardPlan
    cost: Cost


@dataclasses.dataclass(frozen=True)
class Limit:
    """Why the designs with a lower predicted loss were refused.

    Attributes:
        name: "flash", "SRAM", "latency", or "grid" where none was.
        refused: how many designs each limit refused.
        smallest: of all refused, the one with the fewest parameters.
        reason: why it was, with numbers.
    """

    name: str
    refused: dict[str, int]
    smallest: Candidate | None
    reason: str


@dataclasses.dataclass(frozen=True)
class Design:
    """The front, the lowest predicted loss first; its first design is the one chosen.

    Attributes:
        tried: designs of the grid.
        planned: those that the planner was asked about.
    """

    law: Law
    request: DesignRequest
    front: tuple[Point, ...]
    limit: Limit
    tried: int
    planned: int

    @property
    def best(self) -> Point:
        """The lowest predicted loss."""
        return self.front[0]


def search_design(board: Board, law: Law, request: DesignRequest) -> Design:
    """Search the grid of `candidates`.

    Designs are taken in the order of their predicted loss. One is planned only if its weights can lie in flash, if what
    no plan does without is less than the SRAM, and if its instructions are fewer than those of the front so far.

    Args:
        board: its memories and its core.
        law: predicts the loss.
        request: the limits.

    Raises:
        FitError: no design of the grid fits.
        UsageError: the board's core has no counts.
    """
    search = _Search(board, request)
    candidates = list_candidates(law, request.tokens, request.context, request.vocabulary)
    for candidate in candidates:
        if len(search.front) == _POINTS:
            break
        search.consider(candidate)
    if not search.front:
        least = min(search.refused, key=lambda found: found[0].at.total)
        raise FitError(
            f"none of {len(candidates)} designs fits {board.name}; the smallest: {least[2]}",
            at=least[0].describe(),
            try_="a shorter --context, a smaller --vocabulary, a lower --latency, or a larger board",
        )
    front = (search.replan(search.front[0]), *search.front[1:])
    return Design(law, request, front, search.limit(), len(candidates), search.planned)


class _Search:
    """What has been found so far.

    Attributes:
        front: designs that fit.
        refused: (design, limit, reason) of those that do not and have a lower loss than the first that does.
    """

    def __init__(self, board: Board, request: DesignRequest) -> None:
        self.meter = Meter(board)
        self.board = board
        self.request = request
        self.front: list[Point] = []
        self.refused: list[tuple[Candidate, str, str]] = []
        self.planned = 0
        self._too_large: list[tuple[int, ...]] = []  # demands that the planner refused
        storage = choose_storage(board, None)
        self._linked = storage.linked
        self._in_place = storage.mapped and board.memory_for("experts").xip
        self._most = self.meter.clock_hz / request.tokens_per_s if request.tokens_per_s else float("inf")

    @functools.cached_property
    def _flash_bytes(self) -> int:
        return _usable(self.board, _FLASH_USES) - RuntimeBytes().text

    @functools.cached_property
    def _ram_bytes(self) -> int:
        most = _usable(self.board, RAM_USES)
        limit = self.request.sram_bytes
        return (most if limit is None else min(most, limit)) - RuntimeBytes().data - RuntimeBytes().stack

    def consider(self, candidate: Candidate) -> None:
        """Take a design into the front, or note why not."""
        flash, ram = candidate.flash_bytes(experts=self._linked), candidate.ram_bytes(slots=not self._in_place)
        if flash > self._flash_bytes:
            self._refuse(candidate, "flash", f"weights take {flash} B, there are {self._flash_bytes} B")
        elif ram > self._ram_bytes or self._is_too_large(candidate):
            self._refuse(candidate, "SRAM", f"takes more than {self._ram_bytes} B")
        elif (instructions := self.meter.instructions(candidate)) > self._most:
            self._refuse(candidate, "latency", f"{instructions:,.0f} instructions of {self._most:,.0f} allowed")
        elif not self.front or instructions <= _STEP * self.front[-1].cost.total:
            self._plan(candidate)

    def _plan(self, candidate: Candidate) -> None:
        self.planned += 1
        try:
            plan, cost = self.meter.plan(candidate, self.request.sram_bytes)
        except FitError as error:
            in_flash = error.message.startswith((*_FLASH_USES, "the experts"))
            if not in_flash:
                self._too_large.append(candidate.demands())
            self._refuse(candidate, "flash" if in_flash else "SRAM", error.message)
            return
        if cost.total > self._most:
            told = f"{cost.instructions:,.0f} instructions and {cost.stall:,.0f} of stall"
            self._refuse(candidate, "latency", f"{told}, {self._most:,.0f} allowed")
        elif not self.front or cost.total <= _STEP * self.front[-1].cost.total:
            self.front.append(Point(candidate, plan, cost))

    def _is_too_large(self, candidate: Candidate) -> bool:
        demands = candidate.demands()
        return any(all(a >= b for a, b in zip(demands, other, strict=True)) for other in self._too_large)

    def _refuse(self, candidate: Candidate, limit: str, reason: str) -> None:
        if not self.front:
            self.refused.append((candidate, limit, reason))

    def replan(self, point: Point) -> Point:
        """With the planner's own choice of how prompts are taken."""
        plan, cost = self.meter.plan(point.candidate, self.request.sram_bytes, chunk=None)
        return Point(point.candidate, plan, cost)

    def limit(self) -> Limit:
        """What binds: the limit that refused the smallest of the designs that are predicted better."""
        counts: dict[str, int] = {}
        for _, name, _ in self.refused:
            counts[name] = counts.get(name, 0) + 1
        if not self.refused:
            return Limit("grid", counts, None, "the grid has no larger design")
        candidate, name, reason = min(self.refused, key=lambda refused: refused[0].at.total)
        return Limit(name, counts, candidate, reason)


def _usable(board: Board, uses: tuple[Use, ...]) -> int:
    return sum(memory.usable_bytes for memory in board.memory if set(uses) & set(memory.use))
