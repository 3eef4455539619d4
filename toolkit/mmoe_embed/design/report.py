"""What a search found: for a person, for machines, as a drawing, and as a recipe to train."""

import dataclasses
from typing import Any

from mmoe_embed.board import Board
from mmoe_embed.design.draw import draw_points, plot_points
from mmoe_embed.design.recipe_text import write_toml
from mmoe_embed.design.search import Design, Point

_HEAD = "      loss    active      total  instr/token      stall     SRAM     flash  model"
_LABELS = ("instructions a token, stall included", "predicted loss, nats a token")
_TRAINED_ROWS = 16
_RATE = 0.4  # of learning, over the width: 1.2e-2 at 32, 4e-3 at 96, which suited short runs
_AWARE_SHARE = 0.1  # of the tokens, once more, rounding as the scheme will


def summarize_design(board: Board, design: Design) -> str:
    """The design chosen, the front, the limit that binds, and how far the law can be trusted."""
    best, request = design.best, design.request
    lines = [
        f"design for {board.name}: {best.candidate.describe()}",
        f"  parameters {best.candidate.at.active:>11,} active, {best.candidate.at.total:,} in all",
        f"  loss       {best.candidate.loss:>11.4f}    predicted, nats a token after {request.tokens:,} tokens",
        f"  token      {best.cost.instructions:>11,.0f}    instructions, and {best.cost.stall:,.0f} of stall for"
        f" {best.cost.reads:.1f} reads; {_speed(board, best)}",
        f"  memory     {best.plan.sram_used_bytes:>11,} B  of SRAM, {best.plan.sram_free_bytes:,} B free; experts"
        f" {best.plan.expert_mode}; {best.plan.weights_bytes + best.plan.expert_image_bytes:,} B of flash",
        f"  binds      {_limit(design)}",
        "",
        _HEAD,
    ]
    lines += [_row(number, point) for number, point in enumerate(design.front)]
    if len(design.front) > 1:
        lines += ["", plot_points(_LABELS, _places(design), log_x=True)]
    return "\n".join([*lines, *(f"note: {note}" for note in list_notes(design))])


def list_notes(design: Design) -> list[str]:
    """What a reader must know of the numbers."""
    at, request = design.best.candidate.at, design.request
    notes = [
        f"{design.tried:,} designs, {design.planned} of them planned; law: {design.law.name}",
        "stall is of routing without locality: each expert as likely as any other, at every token",
    ]
    outside = design.law.outside(at.active, request.tokens, at.experts, at.granularity)
    return notes + [f"the loss is extrapolated: {line}" for line in outside]


def describe_design(design: Design) -> dict[str, Any]:
    """The same as data."""
    return {
        "law": design.law.name,
        "limit": {"name": design.limit.name, "refused": design.limit.refused, "reason": design.limit.reason},
        "tried": design.tried,
        "planned": design.planned,
        "notes": list_notes(design),
        "front": [
            {
                "model": point.candidate.config.to_dict(),
                "scheme": point.candidate.scheme,
                "loss": round(point.candidate.loss, 5),
                **dataclasses.asdict(point.candidate.at),
                "instructions_per_token": round(point.cost.instructions),
                "stall_per_token": round(point.cost.stall),
                "reads_per_token": round(point.cost.reads, 2),
                "sram_used_bytes": point.plan.sram_used_bytes,
                "flash_bytes": point.plan.weights_bytes + point.plan.expert_image_bytes,
                "expert_mode": point.plan.expert_mode,
                "slots": point.plan.slots,
            }
            for point in design.front
        ],
    }


def draw_front(board: Board, design: Design) -> str:
    """The front as SVG."""
    return draw_points(f"designs for {board.name}", _LABELS, {"Pareto front": _places(design)}, log_x=True, joined=True)


def write_recipe(design: Design, source: str) -> str:
    """A recipe of the design chosen, for `mmoe-embed train`: pre-training, then rounding as the board will.

    Args:
        design: what was found.
        source: path of the text, relative to the recipe.
    """
    best, request = design.best.candidate, design.request
    fixed = ("model_type", "vocab_size", "tie_word_embeddings")
    shape = {key: value for key, value in best.config.to_dict().items() if key not in fixed}
    rate = round(_RATE / best.config.hidden_size, 5)
    stage = {"batch": _TRAINED_ROWS, "mix": {"text": 1.0}, "final_rate": 0.1}
    recipe = {
        "seed": 1,
        "threads": 1,
        "source": [{"name": "text", "path": [source], "held_out": 0.05}],
        "tokenizer": {"vocab_size": request.vocabulary, "merges": "all"},
        "model": shape,
        "stage": [
            {"name": "pre-train", "tokens": request.tokens, "learning_rate": rate, "warmup": 20, **stage},
            {
                "name": "quantization-aware",
                "scheme": best.scheme,
                "tokens": max(1, round(_AWARE_SHARE * request.tokens)),
                "learning_rate": round(rate / 5, 6),
                **stage,
            },
        ],
    }
    head = f"# {best.describe()}: predicted loss {best.loss:.4f} nats a token\n"
    return head + write_toml(recipe)


def _row(number: int, point: Point) -> str:
    candidate, plan = point.candidate, point.plan
    flash = plan.weights_bytes + plan.expert_image_bytes
    return (
        f"{chr(ord('a') + number):2} {candidate.loss:7.4f} {candidate.at.active:9,} {candidate.at.total:10,}"
        f" {point.cost.instructions:12,.0f} {point.cost.stall:10,.0f} {plan.sram_used_bytes:8} {flash:9}"
        f"  {candidate.describe()}"
    )


def _limit(design: Design) -> str:
    limit = design.limit
    if limit.smallest is None:
        return limit.reason
    counts = ", ".join(f"{count:,} by {name}" for name, count in limit.refused.items())
    return (
        f"{limit.name}: {limit.reason}\n{'':13}for the smallest that is predicted better ({limit.smallest.loss:.4f}:"
        f" {limit.smallest.describe()});\n{'':13}better ones refused: {counts}"
    )


def _speed(board: Board, point: Point) -> str:
    clock_hz = board.core.clock_hz or board.soc.clock_hz
    if board.kind == "emulated" or not clock_hz or not point.cost.total:
        return f"{1e6 / point.cost.total:,.2f} tokens a million instructions"
    return f"{clock_hz / point.cost.total:,.1f} tokens/s at a cycle an instruction"


def _places(design: Design) -> list[tuple[float, float]]:
    return [(point.cost.total, point.candidate.loss) for point in design.front]
