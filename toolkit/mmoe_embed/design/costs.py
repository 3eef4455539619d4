"""What a token of a design costs on a board: instructions by the kernels' counts, stall by the paging model."""

import dataclasses

import msgspec
import numpy as np

from mmoe_embed.board import Board
from mmoe_embed.config import ModelConfig
from mmoe_embed.design.candidates import Candidate, stand_in, with_layers
from mmoe_embed.design.shapes import feed_forward
from mmoe_embed.errors import UsageError
from mmoe_embed.fit import describe_fit
from mmoe_embed.instructions import COPYING_STORAGE, count_instructions
from mmoe_embed.paging.placed import PlacedCache
from mmoe_embed.paging.placement import Placement
from mmoe_embed.plan import BoardPlan, PlanRequest, plan_model
from mmoe_embed.storage import choose_storage

_PLAIN_HEAD, _PLAIN_WIDTH = 16, 32  # of a model that has as little attention, or feed-forward, as any
_REPLAYED = 16  # tokens that are counted, after as many that fill the slots


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one decoded token at half the context.

    Attributes:
        instructions: with its experts at hand.
        reads: experts read from flash.
        stall: of these reads, in instructions: pager, copy and CRC-32, and the flash's own time as cycles where the
            board file has it.
    """

    instructions: float
    reads: float
    stall: float

    @property
    def total(self) -> float:
        """Instructions and stall."""
        return self.instructions + self.stall


class Meter:
    """Plans and costs on one board.

    Raises:
        UsageError: on the board's core no kernel has been counted.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.clock_hz = board.core.clock_hz or board.soc.clock_hz
        self._copies = choose_storage(board, None).driver in COPYING_STORAGE
        self._counted: dict[tuple[bytes, str], tuple[float, float]] = {}

    def instructions(self, candidate: Candidate) -> float:
        """Of a token with its experts at hand.

        Attention and feed-forward add up, and so do layers: each kind of them is counted once.
        """
        config, scheme = candidate.config, candidate.scheme
        heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": _PLAIN_HEAD}
        dense = feed_forward(_PLAIN_WIDTH, 1, 1, False)
        parts = (
            (1, self._line(msgspec.structs.replace(config, **dense), scheme)),
            (1, self._line(msgspec.structs.replace(config, **heads), scheme)),
            (-1, self._line(msgspec.structs.replace(config, **heads, **dense), scheme)),
        )
        more = config.num_hidden_layers - 1
        return sum(sign * (first + more * other) for sign, (first, other) in parts)

    def _line(self, config: ModelConfig, scheme: str) -> tuple[float, float]:
        """(of a model of one layer, of each layer more)"""
        one = with_layers(config, 1)
        key = (msgspec.json.encode(one), scheme)
        if key not in self._counted:
            count = self._count(one, scheme)
            self._counted[key] = (count, self._count(with_layers(config, 2), scheme) - count)
        return self._counted[key]

    def _count(self, config: ModelConfig, scheme: str) -> float:
        counted = count_instructions(self.board, stand_in(config, scheme), copies=self._copies)
        if counted is None:
            raise UsageError(
                f"no kernel has been counted on the core of {self.board.name}, {self.board.core.core}",
                try_="a board with a Cortex-M, see `mmoe-embed boards list`",
            )
        return counted.total

    def plan(self, candidate: Candidate, sram_bytes: int | None, *, chunk: int | None = 1) -> tuple[BoardPlan, Cost]:
        """The planner's answer, and what a token costs under it.

        Where experts are paged, the paging model replays uniform and independent choices, which is what balanced
        routers come near to and what caches like least.

        Args:
            candidate: the design.
            sram_bytes: use at most this much.
            chunk: of prompts; 1 takes the least SRAM, None the planner's choice.

        Raises:
            FitError: it does not fit.
        """
        model = stand_in(candidate.config, candidate.scheme)
        plan = plan_model(model, self.board, PlanRequest(sram_bytes=sram_bytes, chunk=chunk))
        fit = describe_fit(self.board, model, plan)
        most = fit.reads_per_token or 0.0
        reads = _expect_reads(candidate.config, plan.slots, plan.policy) if plan.expert_mode == "paged" else most
        wait = (fit.stall_us_per_token or 0.0) * 1e-6 * self.clock_hz
        stall = ((fit.stall_instructions_per_token or 0) + wait) * reads / max(1.0, most)
        return plan, Cost(fit.instructions_per_token or 0, reads, stall)


def _expect_reads(config: ModelConfig, slots: int, policy: str) -> float:
    """Of a token, by the replay of a policy over random choices; counted once the slots are full."""
    layers, experts, top_k = config.num_hidden_layers, config.num_experts, config.num_experts_per_tok
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.random((2 * _REPLAYED, layers, experts)).argsort(axis=2)[..., :top_k], axis=2)
    cache, reads = PlacedCache(policy, layers, experts, slots, Placement()), 0
    for token, uses in enumerate(chosen):
        for layer, batch in enumerate(uses):
            cache.access(layer, (layer * experts + batch).tolist(), layer == 0)
            reads += len(cache.missing) if token >= _REPLAYED else 0
    return reads / _REPLAYED
