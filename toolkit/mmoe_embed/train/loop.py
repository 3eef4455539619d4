"""Training, stage by stage."""

import contextlib
import dataclasses
import hashlib
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
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
from tokenizers import Tokenizer
from torch.nn import functional

from mmoe_embed.config import GenerationConfig, ModelConfig
from mmoe_embed.errors import ToolkitError
from mmoe_embed.model import MoeModel
from mmoe_embed.train.data import Examples, Pair, collate, draw_batches, encode_pairs, hash_file, read_pairs
from mmoe_embed.train.evaluate import match_exactly
from mmoe_embed.train.export import write_checkpoint
from mmoe_embed.train.recipe import Recipe, StageSettings, load_recipe
from mmoe_embed.train.state import State, load_state, save_state
from mmoe_embed.train.tokenizer import SPECIAL_TOKENS, train_tokenizer
from mmoe_embed.whole_file import write_whole

METRICS = ("stage", "step", "loss", "z_loss", "gradient_norm", "learning_rate", "largest_load", "exact_match")


class RunInterruptedError(ToolkitError):
    """Stopped by the user, with everything kept."""

    exit_code = 130


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a finished run left behind."""

    checkpoint: Path
    metrics: Path
    parameters: int
    exact_match: dict[
        str, float
    ]  # stage name: share of `data.evaluate` answered exactly, rounded as the stage's scheme does


@dataclasses.dataclass(frozen=True)
class _Prepared:
    recipe: Recipe
    output: Path
    identity: str
    config: ModelConfig
    tokenizer: Tokenizer
    generation: GenerationConfig
    train: Examples
    evaluate: Examples | None


def train_recipe(
    recipe_file: Path, output: Path, *, resume: bool = False, console: Console | None = None
) -> TrainResult:
    """Train a model as a recipe says; the same recipe and data give the same bits on one machine.

    Args:
        recipe_file: TOML, see `mmoe_embed.train.recipe`.
        output: folder for `checkpoint/`, `metrics.csv` and the resumable state.
        resume: go on with the run that lies in `output`.
        console: where progress goes; none is shown without it.

    Raises:
        ToolkitError: bad recipe or data, an output folder that holds another run or cannot be written.
        RunInterruptedError: SIGINT or SIGTERM came; the state is saved.
    """
    recipe = load_recipe(recipe_file)
    _open_output(output, resume)
    prepared = _prepare(recipe_file, recipe, output)
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    model = MoeModel(prepared.config)
    state = State(prepared.identity, 0, 0, {}, {}, [0.0] * 4, [])
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
    exact: dict[str, float] = {row[0]: float(row[-1]) for row in state.rows if row[-1]}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with _catch_signals() as stop, Progress(*columns, console=console, disable=console is None) as progress:
        for index in range(state.stage, len(recipe.stage)):
            _train_stage(prepared, model, state, index, stop, progress)
            stage = recipe.stage[index]
            if prepared.evaluate is not None:
                scheme = None if stage.scheme == "float" else stage.scheme
                right = match_exactly(model, prepared.evaluate, scheme, prepared.generation.stop_token)
                exact[stage.name] = sum(right) / len(right)
                state.rows.append([stage.name, str(stage.steps), "", "", "", "", "", f"{exact[stage.name]:.4f}"])
            state.stage, state.step, state.optimizer = index + 1, 0, {}
            _write_metrics(prepared, state)
            write_checkpoint(output / "checkpoint", model, prepared.tokenizer, prepared.generation)
            _save(prepared, model, state)
    return TrainResult(output / "checkpoint", output / "metrics.csv", sum(p.numel() for p in model.parameters()), exact)


def _open_output(output: Path, resume: bool) -> None:
    found = {file.name for file in output.iterdir()} if output.is_dir() else set()
    # a run that was killed before its first state has left only what the next one makes again
    held = "state.pt" in found or (bool(found) and found <= {"tokenizer.json", "metrics.csv", "checkpoint", ".probe"})
    if resume:
        if not held:
            raise ToolkitError("no run to resume in this folder", at=str(output), try_="leave out --resume")
    elif found:
        raise ToolkitError(
            "the output folder holds a run already" if held else "the output folder is not empty",
            at=str(output),
            try_="the same command with --resume" if held else "give another folder with -o",
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ToolkitError(
            f"the output folder cannot be written: {error.strerror}", at=str(output), try_="give another folder with -o"
        ) from None


def _prepare(recipe_file: Path, recipe: Recipe, output: Path) -> _Prepared:
    config = recipe.model_config(str(recipe_file))
    base = recipe_file.parent
    data_file = base / recipe.data.train
    pairs = read_pairs(data_file, recipe.data.make)
    identity = hashlib.sha256(recipe_file.read_bytes() + hash_file(data_file).encode()).hexdigest()
    tokenizer_file = output / "tokenizer.json"
    if tokenizer_file.is_file():
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    else:
        tokenizer = train_tokenizer(
            [t for p in pairs[: recipe.tokenizer.lines] for t in (p.prompt, p.completion)], recipe.tokenizer.vocab_size
        )
        write_whole(tokenizer_file, tokenizer.to_str(pretty=False).encode())
    vocabulary = tokenizer.get_vocab()
    bos, sep, eos = (vocabulary[t] for t in SPECIAL_TOKENS)
    generation = GenerationConfig(
        prefix_tokens=[bos], suffix_tokens=[sep], stop_token=eos, max_new_tokens=recipe.generation.max_new_tokens
    )

    def encode(source: list[Pair], file: Path) -> Examples:
        return encode_pairs(source, tokenizer, generation, config.max_position_embeddings, str(file))

    evaluate = None
    if recipe.data.evaluate:
        evaluate_file = base / recipe.data.evaluate
        evaluate = encode(read_pairs(evaluate_file), evaluate_file)
    return _Prepared(recipe, output, identity, config, tokenizer, generation, encode(pairs, data_file), evaluate)


def make_optimizer(model: MoeModel, stage: StageSettings) -> torch.optim.AdamW:
    """AdamW; norms, router and embedding are not decayed."""
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "router" not in n and "embed" not in n]
    kept = [p for n, p in model.named_parameters() if p.ndim < 2 or "router" in n or "embed" in n]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=stage.learning_rate, betas=stage.betas, eps=1e-8, fused=True)


def schedule_rate(stage: StageSettings, step: int) -> float:
    """The learning rate of a 0-based step."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    share = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * share)), "linear": 1 - share, "constant": 1.0}[stage.schedule]
    return stage.learning_rate * (stage.final_rate + (1 - stage.final_rate) * left)


def _train_stage(
    prepared: _Prepared, model: MoeModel, state: State, index: int, stop: list[int], progress: Progress
) -> None:
    recipe, stage = prepared.recipe, prepared.recipe.stage[index]
    optimizer = make_optimizer(model, stage)
    if state.optimizer:
        optimizer.load_state_dict(state.optimizer)
    batches = draw_batches(prepared.train, stage.batch, (recipe.seed, index), state.step)
    task: TaskID = progress.add_task(stage.name, total=stage.steps, completed=state.step, loss="-")
    while state.step < stage.steps:
        rate = schedule_rate(stage, state.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        metrics = _take_step(prepared, model, optimizer, stage, next(batches))
        state.step += 1
        state.window = [a + b for a, b in zip(state.window, metrics, strict=True)]
        if not math.isfinite(metrics[0]):
            raise ToolkitError(
                f"the loss is {metrics[0]} at step {state.step}",
                at=f"stage {stage.name}",
                try_="lower stage.learning_rate; the last state saved is kept",
            )
        if state.step % recipe.log_every == 0 or state.step == stage.steps:
            n = (state.step - 1) % recipe.log_every + 1
            loss, z_loss, norm, load = (w / n for w in state.window)
            state.rows.append(
                [
                    stage.name,
                    str(state.step),
                    f"{loss:.5f}",
                    f"{z_loss:.4f}",
                    f"{norm:.4f}",
                    f"{rate:.3e}",
                    f"{load:.3f}",
                    "",
                ]
            )
            state.window = [0.0] * 4
            progress.update(task, loss=f"{loss:.4f}")
            _write_metrics(prepared, state)
        progress.update(task, completed=state.step)
        if stop or state.step % recipe.save_every == 0:
            state.stage, state.optimizer = index, optimizer.state_dict()
            _save(prepared, model, state)
        if stop:
            raise RunInterruptedError(
                f"interrupted after step {state.step} of {stage.steps} of stage {stage.name}; nothing is lost",
                at=str(prepared.output),
                try_="the same command with --resume",
            )


def _take_step(
    prepared: _Prepared,
    model: MoeModel,
    optimizer: torch.optim.Optimizer,
    stage: StageSettings,
    chosen: NDArray[np.int64],
) -> tuple[float, float, float, float]:
    """One optimizer step; (loss, z-loss, gradient norm, largest share of one expert relative to an even one)."""
    batch = collate(prepared.train, chosen, prepared.generation.stop_token)
    wanted = batch.real if stage.prompt_weight else batch.answer
    logits, report = model(batch.tokens, wanted, None if stage.scheme == "float" else stage.scheme, batch.real)
    losses = functional.cross_entropy(logits, batch.targets[wanted], reduction="none")
    weights = torch.where(batch.answer[wanted], 1.0, stage.prompt_weight)
    loss = (losses * weights).sum() / weights.sum()
    total = loss + stage.z_loss * report.z_loss
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip)
    optimizer.step()
    largest = 0.0
    if report.load.numel():
        model.balance(report.load, stage.balance_rate)
        largest = float((report.load.amax(dim=1) / report.load.float().mean(dim=1)).max())
    return loss.item(), report.z_loss.item(), norm.item(), largest


def _write_metrics(prepared: _Prepared, state: State) -> None:
    lines = [",".join(METRICS), *(",".join(row) for row in state.rows)]
    write_whole(prepared.output / "metrics.csv", ("\n".join(lines) + "\n").encode())


def _save(prepared: _Prepared, model: MoeModel, state: State) -> None:
    state.model = model.state_dict()
    save_state(prepared.output / "state.pt", state)


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
