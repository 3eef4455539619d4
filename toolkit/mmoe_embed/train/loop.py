"""Training, stage by stage."""

import contextlib
import dataclasses
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.nn import functional

from mmoe_embed.errors import ToolkitError
from mmoe_embed.model import MoeModel
from mmoe_embed.train.corpus import cut_held_out
from mmoe_embed.train.curves import draw_curves
from mmoe_embed.train.data import Batch
from mmoe_embed.train.evaluate import HeldOut, match_exactly, measure_held_out
from mmoe_embed.train.export import write_checkpoint
from mmoe_embed.train.locality import concentrate_use, share_use, spread_over_blocks
from mmoe_embed.train.parallel import Ranks, join_ranks
from mmoe_embed.train.prepare import Prepared, open_output, prepare
from mmoe_embed.train.recipe import StageSettings, load_recipe
from mmoe_embed.train.state import State, load_state, save_state
from mmoe_embed.whole_file import write_whole

METRICS = (
    "stage", "step", "loss", "z_loss", "block_spread", "gradient_norm", "learning_rate", "largest_load",
    "source", "held_out_loss", "bits_per_byte", "exact_match", "tokens",
)  # fmt: skip
_HELD_OUT_TOKENS = 1 << 16  # a source's evaluation looks at no more


class RunInterruptedError(ToolkitError):
    """Stopped by the user, with everything kept."""

    exit_code = 130


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a finished run left behind.

    Attributes:
        exact_match: stage: share of `data.evaluate` answered exactly, rounded as the stage's scheme does.
        held_out: stage: source: loss over its held-out documents, rounded likewise.
    """

    checkpoint: Path
    metrics: Path
    parameters: int
    exact_match: dict[str, float]
    held_out: dict[str, dict[str, HeldOut]]


@dataclasses.dataclass
class _Run:
    """A run while it goes on."""

    prepared: Prepared
    ranks: Ranks
    model: MoeModel
    state: State
    stop: list[int]
    progress: Progress


def train_recipe(
    recipe_file: Path, output: Path, *, resume: bool = False, console: Console | None = None
) -> TrainResult:
    """Train a model as a recipe says; the same recipe and data give the same bits on one machine.

    Under torchrun every process takes its share (`mmoe_embed.train.parallel`), and the first one writes.

    Args:
        recipe_file: TOML, see `mmoe_embed.train.recipe`.
        output: folder for `checkpoint/`, `metrics.csv`, `loss.svg`, encoded data and the resumable state.
        resume: go on with the run that lies in `output`.
        console: where progress goes; none is shown without it.

    Raises:
        ToolkitError: bad recipe or data, an output folder that holds another run or cannot be written.
        RunInterruptedError: SIGINT or SIGTERM came; the state is saved.
    """
    recipe = load_recipe(recipe_file)
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    with join_ranks(recipe.parallel) as ranks:
        for turn in (True, False):  # the first process makes what the others then find
            if ranks.first == turn:
                if turn:
                    open_output(output, resume)
                prepared = prepare(recipe_file, recipe, output)
            ranks.wait()
        model = MoeModel(prepared.config)
        prepared.scale_input(model)
        if prepared.start is not None:
            model.load_numpy(prepared.start.tensors)
        state = State(prepared.identity)
        state_file = output / "state.pt"
        if resume and state_file.is_file():
            state = load_state(state_file)
            if state.identity != prepared.identity:
                raise ToolkitError(
                    "the run in this folder was made from another recipe or other data",
                    at=str(output),
                    try_="restore the recipe, or give another folder with -o",
                )
            model.load_state_dict(state.model)
        parameters = sum(p.numel() for p in model.parameters())
        ranks.split(model)
        with _catch_signals() as stop, _show_progress(console if ranks.first else None) as progress:
            run = _Run(prepared, ranks, model, state, stop, progress)
            for index in range(state.stage, len(recipe.stage)):
                _train_stage(run, index)
    exact = {row["stage"]: float(row["exact_match"]) for row in state.rows if row.get("exact_match")}
    return TrainResult(output / "checkpoint", output / "metrics.csv", parameters, exact, state.held_out())


def _show_progress(console: Console | None) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=console is None)


def make_optimizer(model: MoeModel, stage: StageSettings) -> torch.optim.AdamW:
    """AdamW; norms, router and embedding are not decayed."""
    decayed, kept = decay_groups(model)
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=stage.learning_rate, betas=stage.betas, eps=1e-8, fused=True)


def decay_groups(model: MoeModel) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """(decayed, not decayed) parameters, in the optimizer's order."""
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "router" not in n and "embed" not in n]
    kept = [p for n, p in model.named_parameters() if p.ndim < 2 or "router" in n or "embed" in n]
    return decayed, kept


def schedule_rate(stage: StageSettings, step: int, steps: int) -> float:
    """The learning rate of a 0-based step of `steps`."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    share = (step - stage.warmup) / max(1, steps - stage.warmup)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * share)), "linear": 1 - share, "constant": 1.0}[stage.schedule]
    return stage.learning_rate * (stage.final_rate + (1 - stage.final_rate) * left)


def _train_stage(run: _Run, index: int) -> None:
    prepared, state, recipe = run.prepared, run.state, run.prepared.recipe
    stage = recipe.stage[index]
    steps = stage.step_count(prepared.config)
    if stage.batch < run.ranks.size:
        raise ToolkitError(
            f"a batch of {stage.batch} has no row for some of {run.ranks.size} processes", at=f"stage {stage.name}"
        )
    optimizer = make_optimizer(run.model, stage)
    if state.optimizer:
        optimizer.load_state_dict(_map_optimizer(run.model, state.optimizer, run.ranks.keep))
    batches = prepared.batches(index, state.step)
    task: TaskID = run.progress.add_task(stage.name, total=steps, completed=state.step, loss="-")
    while state.step < steps:
        rate = schedule_rate(stage, state.step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        metrics = _take_step(run, optimizer, stage, next(batches))
        state.step += 1
        state.window = [a + b for a, b in zip(state.window, metrics, strict=True)]
        if not math.isfinite(metrics[0]):
            raise ToolkitError(
                f"the loss is {metrics[0]} at step {state.step}",
                at=f"stage {stage.name}",
                try_="lower stage.learning_rate; the last state saved is kept",
            )
        if state.step % recipe.log_every == 0 or state.step == steps:
            loss = _log_window(run, stage, rate)
            run.progress.update(task, loss=f"{loss:.4f}")
        if stage.evaluate_every and state.step % stage.evaluate_every == 0 and state.step < steps:
            _log_held_out(run, stage)
        run.progress.update(task, completed=state.step)
        stopped = run.ranks.any(bool(run.stop))
        if stopped or state.step % recipe.save_every == 0:
            state.stage = index
            _save(run, optimizer)
        if stopped:
            raise RunInterruptedError(
                f"interrupted after step {state.step} of {steps} of stage {stage.name}; nothing is lost",
                at=str(prepared.output),
                try_="the same command with --resume",
            )
    _log_held_out(run, stage)
    if prepared.evaluate is not None:
        right = match_exactly(run.model, prepared.evaluate, stage.rounding)
        state.rows.append({"stage": stage.name, "step": str(steps), "exact_match": f"{sum(right) / len(right):.4f}"})
    state.stage, state.step, state.optimizer = index + 1, 0, {}
    _save(run, None)
    if run.ranks.first:
        _write_metrics(run)
        write_checkpoint(
            prepared.output / "checkpoint", prepared.config, state.model, prepared.tokenizer, prepared.generation
        )
    run.ranks.wait()


def _take_step(
    run: _Run, optimizer: torch.optim.Optimizer, stage: StageSettings, batch: Batch
) -> tuple[float, float, float, float, float]:
    """One optimizer step.

    Returns:
        (loss, z-loss, spread over blocks, gradient norm, largest share of one expert relative to an even one)
    """
    model, ranks = run.model, run.ranks
    batch = ranks.share(batch)
    wanted = batch.real if stage.prompt_weight else batch.answer
    logits, report = model(batch.tokens, wanted, stage.rounding, batch.real, batch.documents, stage.capacity)
    losses = functional.cross_entropy(logits, batch.targets[wanted], reduction="none")
    weights = torch.where(batch.answer[wanted], 1.0, stage.prompt_weight)
    # both means are over the whole batch, of which this process has a share
    loss = (losses * weights).sum() / ranks.sum(weights.sum())
    real = batch.real.sum()
    share = real / ranks.sum(real) if ranks.size > 1 else 1.0
    z_loss, spread, locality = report.z_loss * share, loss.new_zeros(()), loss.new_zeros(())
    if stage.locality:
        use = share_use(report.scores, run.prepared.config.num_experts_per_tok)
        spread = spread_over_blocks(use, batch.real, stage.locality_block) * share
        locality = spread + concentrate_use(use, batch.real) * share
    optimizer.zero_grad(set_to_none=True)
    (loss + stage.z_loss * z_loss + stage.locality * locality).backward()
    ranks.add_gradients(model)
    norm = ranks.clip_gradients(model, stage.clip)
    optimizer.step()
    largest = 0.0
    if report.load.numel():
        load = ranks.sum(report.load)
        model.balance(load, stage.balance_rate)
        largest = float((load.amax(dim=1) / load.float().mean(dim=1)).max())
    total, z_total, spread_total = ranks.sum(torch.stack([loss, z_loss, spread])).tolist()
    return total, z_total, spread_total, norm, largest


def _log_window(run: _Run, stage: StageSettings, rate: float) -> float:
    """A row of means since the last one; returns the loss."""
    state = run.state
    n = (state.step - 1) % run.prepared.recipe.log_every + 1
    loss, z_loss, spread, norm, load = (w / n for w in state.window)
    state.rows.append(
        {
            "stage": stage.name,
            "step": str(state.step),
            "loss": f"{loss:.5f}",
            "z_loss": f"{z_loss:.4f}",
            "block_spread": f"{spread:.4f}" if stage.locality else "",
            "gradient_norm": f"{norm:.4f}",
            "learning_rate": f"{rate:.3e}",
            "largest_load": f"{load:.3f}",
        }
    )
    state.window = [0.0] * len(state.window)
    _write_metrics(run)
    return loss


def _log_held_out(run: _Run, stage: StageSettings) -> None:
    """A row for each source of the stage that keeps documents out."""
    prepared = run.prepared
    width = stage.row_tokens(prepared.config)
    rows, stop = max(1, _HELD_OUT_TOKENS // width), prepared.generation.stop_token
    for name in stage.mix:
        batches = cut_held_out(prepared.corpora[name].held_out, width, rows, stage.batch, stop)
        found = measure_held_out(run.model, batches, stage.rounding, prepared.token_sizes)
        if found:
            run.state.rows.append(
                {
                    "stage": stage.name,
                    "step": str(run.state.step),
                    "source": name,
                    "held_out_loss": f"{found.loss:.5f}",
                    "bits_per_byte": f"{found.bits_per_byte:.5f}",
                    "tokens": str(_count_tokens(run)),
                }
            )
            run.state.found[stage.name] = run.state.found.get(stage.name, {}) | {name: vars(found)}
    _write_metrics(run)


def _count_tokens(run: _Run) -> int:
    """Tokens of packed rows that the run has been trained on, over all its stages."""
    config, stages = run.prepared.config, run.prepared.recipe.stage[: run.state.stage + 1]
    steps = [*(stage.step_count(config) for stage in stages[:-1]), run.state.step]
    rows = zip(steps, stages, strict=True)
    return sum(count * stage.batch * stage.row_tokens(config) for count, stage in rows if stage.mix)


def _write_metrics(run: _Run) -> None:
    if not run.ranks.first:
        return
    rows = run.state.rows
    lines = [",".join(METRICS), *(",".join(row.get(name, "") for name in METRICS) for row in rows)]
    write_whole(run.prepared.output / "metrics.csv", ("\n".join(lines) + "\n").encode())
    begin, first = 0, {}
    for stage in run.prepared.recipe.stage:  # the stages side by side
        first[stage.name], begin = begin, begin + stage.step_count(run.prepared.config)
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in (
            ("training", row.get("loss")),
            (f"held out, {row.get('source')}", row.get("held_out_loss")),
        ):
            if value:
                curves.setdefault(name, []).append((first[row["stage"]] + int(row["step"]), float(value)))
    write_whole(run.prepared.output / "loss.svg", draw_curves("loss, nats a token, over steps", curves).encode())


def _map_optimizer(
    model: MoeModel, state: dict[str, Any], change: Callable[[str, torch.Tensor, torch.Tensor], torch.Tensor]
) -> dict[str, Any]:
    """An optimizer's state with every tensor that is shaped like its parameter changed, by (name, value, parameter)."""
    names = {id(p): name for name, p in model.named_parameters()}
    order = [(names[id(p)], p) for group in decay_groups(model) for p in group]
    moments = {
        index: {
            key: change(order[index][0], value, order[index][1]) if torch.is_tensor(value) and value.ndim else value
            for key, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    return {**state, "state": moments}


def _save(run: _Run, optimizer: torch.optim.Optimizer | None) -> None:
    """The whole state to disk; what is shared out is gathered first."""
    ranks, state = run.ranks, run.state
    state.model = {name: ranks.gather(name, value) for name, value in run.model.state_dict().items()}
    state.optimizer = (
        _map_optimizer(run.model, optimizer.state_dict(), lambda n, v, _: ranks.gather(n, v)) if optimizer else {}
    )
    if ranks.first:
        save_state(run.prepared.output / "state.pt", state)
    ranks.wait()


@contextlib.contextmanager
def _catch_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one kills at once."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if caught:
            os._exit(130)
        caught.append(number)

    try:
        old = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
