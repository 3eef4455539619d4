"""What a token costs on a running board, operation by operation: in decode, and in prefill."""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmoe_embed.board import Board
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.graph import Op, build_graph
from mmoe_embed.instructions import COPYING_STORAGE
from mmoe_embed.instructions import count_instructions as count_kernels
from mmoe_embed.quantized import Quantized
from mmoe_embed.serial.client import MAX_PREFILL, BoardClient
from mmoe_embed.serial.replies import OpProfile
from mmoe_embed.signals import draw_windows
from mmoe_embed.toolchain import kernel_folders
from mmoe_embed.validate_report import count_instructions

# instructions per multiply-accumulate that a matrix-vector product is to reach, by bits of the weights
GOALS = {"mve": {8: 0.165, 4: 0.23}, "dsp": {8: 1.45, 4: 1.40}}
DECODE_GOAL = 1.35  # a token over the sum of its matrix products at their goals
PREFILL_GOAL = 1.5  # a decoded token over one of a prompt


@dataclasses.dataclass(frozen=True)
class OperationCost:
    """One operation, summed over the layers, for one token.

    Attributes:
        macs: multiply-accumulates of its matrix products; 0 where it has none.
        goal: what these cost at GOALS; None where the core has none.
        predicted: of decode, by the kernels' counts as `mmoe-embed fit` takes them; None where the core has none.
        decode, prefill: instructions; nanoseconds where ticks are time.
    """

    name: str
    macs: int
    goal: float | None
    predicted: float | None
    decode: float
    prefill: float


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """A whole token.

    Attributes:
        unit: "instructions" or "nanoseconds".
        tokens: over how many the costs are means, from an empty context.
        chunk: tokens that a prefill pass takes.
        decode_misses, prefill_misses: experts read from flash for one token.
    """

    unit: str
    tokens: int
    chunk: int
    operations: tuple[OperationCost, ...]
    goal: float | None
    predicted: float | None
    decode: float
    prefill: float
    decode_misses: float
    prefill_misses: float

    @property
    def decode_ratio(self) -> float | None:
        """A decoded token over its matrix products at their goals."""
        return self.decode / self.goal if self.goal else None

    @property
    def prediction_error(self) -> float | None:
        """Prediction over measurement, less 1."""
        return self.predicted / self.decode - 1 if self.predicted is not None else None

    @property
    def prefill_ratio(self) -> float:
        """A decoded token over one of a prompt."""
        return self.decode / self.prefill


def measure_model(
    client: BoardClient, board: Board, model: Quantized, plan: Mapping[str, Any], tokens: int = 64
) -> ModelCost:
    """Run the same tokens on a board one by one and as a prompt, each time from an empty context.

    Args:
        client: the board, known to run the build.
        board: what it is.
        model: what it runs.
        plan: plan.json of the build.
        tokens: how many; no more than the context and a request hold.

    Raises:
        UsageError: more tokens than fit.
        ToolkitError: the board has no clock.
    """
    most = min(model.config.max_position_embeddings, MAX_PREFILL)
    if tokens > most:
        raise UsageError(f"{tokens} tokens do not fit: at most {most} do", try_=f"--tokens {most}")
    source, inputs = random.Random(0), model.config.vocab_size
    if model.config.is_classifier:
        client.windows = draw_windows(model)
        inputs = len(client.windows)
    fed = [source.randrange(inputs) for _ in range(tokens)]
    _run_steps(client, fed)  # loads the experts that slots hold
    decode, decode_misses = _profile(client, lambda: _run_steps(client, fed))
    prefill, prefill_misses = _profile(client, lambda: client.prefill(fed))
    tick_hz = client.identify().tick_hz
    if not tick_hz:
        raise ToolkitError("the board has no clock: nothing can be measured", at=board.name)
    per_tick = count_instructions(1, tick_hz, board)
    scale = (per_tick or 1e9 / tick_hz) / tokens
    goals = GOALS.get(kernel_folders(board)[0]) if per_tick else None
    predicted = _predict(board, model, plan, tokens, decode_misses) if per_tick else {}
    chunk = int(plan["chunk"])
    costs: dict[str, OperationCost] = {}
    for op, one, many in zip(build_graph(model.config, chunk).ops, decode, prefill, strict=True):
        name = op.name.rpartition(".")[2]
        products = _products(op, model)
        macs = sum(count for count, _ in products)
        goal = sum(count * goals[bits] for count, bits in products) if goals else None
        cost = OperationCost(name, macs, goal, predicted.get(name), scale * one.ticks, scale * many.ticks)
        costs[name] = _add(costs[name], cost) if name in costs else cost
    return ModelCost(
        "instructions" if per_tick else "nanoseconds",
        tokens,
        chunk,
        tuple(costs.values()),
        sum(cost.goal or 0.0 for cost in costs.values()) if goals else None,
        sum(predicted.values()) if predicted else None,
        sum(cost.decode for cost in costs.values()),
        sum(cost.prefill for cost in costs.values()),
        decode_misses / tokens,
        prefill_misses / tokens,
    )


def _predict(board: Board, model: Quantized, plan: Mapping[str, Any], tokens: int, misses: int) -> dict[str, float]:
    """What `mmoe-embed fit` says of these tokens, by operation; empty for a core without counts."""
    copies = plan["storage"] in COPYING_STORAGE
    counted = count_kernels(board, model, positions=(tokens + 1) / 2, copies=copies)
    if counted is None:
        return {}
    operations = dict(counted.operations)
    operations["moe"] += counted.read * misses / tokens
    return operations


def _run_steps(client: BoardClient, tokens: Sequence[int]) -> None:
    client.reset()
    for token in tokens:
        client.step(token)


def _profile(client: BoardClient, run: Callable[[], object]) -> tuple[list[OpProfile], int]:
    client.reset(clear_statistics=True)
    run()
    return client.profile(), client.statistics().misses


def _products(op: Op, model: Quantized) -> list[tuple[int, int]]:
    """(multiply-accumulates, bits) of the matrix products of one token in an operation."""
    names = [op.weights] if op.kind == "linear" else []
    if op.kind == "moe":
        at, config = f"layers.{op.layer}.", model.config
        used = ["shared."] if config.shared_width(op.layer) else []
        used += ["experts.0."] * (config.num_experts_per_tok if config.experts_of(op.layer) else 0)  # all of one size
        names = [at + part + matrix for part in used for matrix in ("gate_up", "down")]
    matrices = [model.matrices[name] for name in names]
    return [(matrix.rows * matrix.columns, matrix.bits) for matrix in matrices]


def _add(a: OperationCost, b: OperationCost) -> OperationCost:
    goal = a.goal + b.goal if a.goal is not None and b.goal is not None else None
    return OperationCost(a.name, a.macs + b.macs, goal, a.predicted, a.decode + b.decode, a.prefill + b.prefill)


def render_cost(cost: ModelCost) -> str:
    """The table for a person."""
    lines = [f"{'operation':<16}{'MACs':>9}{'goal':>10}{'predicted':>11}{'decode':>10}{'prefill':>10}"]
    macs = sum(operation.macs for operation in cost.operations)
    total = OperationCost("all", macs, cost.goal, cost.predicted, cost.decode, cost.prefill)
    for row in (*cost.operations, total):
        goal = f"{row.goal:>10,.0f}" if row.goal and row.macs else f"{'':>10}"
        count = f"{row.macs:>9,}" if row.macs else f"{'':>9}"
        predicted = f"{row.predicted:>11,.0f}" if row.predicted is not None else f"{'':>11}"
        lines.append(f"{row.name:<16}{count}{goal}{predicted}{row.decode:>10,.0f}{row.prefill:>10,.0f}")
    lines.append(
        f"{cost.unit} a token, means over {cost.tokens} tokens from an empty context; prefill in chunks of {cost.chunk}"
    )
    if cost.decode_ratio is not None:
        lines.append(f"decode: {cost.decode_ratio:.2f} x its matrix products at their goals (goal {DECODE_GOAL})")
    if cost.prediction_error is not None:
        lines.append(f"decode as `mmoe-embed fit` predicts it: {100 * cost.prediction_error:+.1f} % off")
    lines.append(f"prefill: {cost.prefill_ratio:.2f} x fewer {cost.unit} a token than decode (goal {PREFILL_GOAL})")
    lines.append(f"experts read from flash a token: decode {cost.decode_misses:.2f}, prefill {cost.prefill_misses:.2f}")
    return "\n".join(lines)
