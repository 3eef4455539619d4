"""A grid of trainings on the cores of a machine, and through torchrun on many; interrupted, it goes on where it was."""

import concurrent.futures
import dataclasses
import fcntl
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmoe_embed.design.grid import Job, read_grid
from mmoe_embed.design.runs import read_run, write_runs
from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.prepare import prepare
from mmoe_embed.train.recipe import load_recipe
from mmoe_embed.whole_file import write_whole

RUNS = "runs.csv"
_SHARED = "shared"  # tokenizer and encoded data of all runs
# what torchrun tells a process; a run of a sweep is one process of its own
_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_stopped: list[str] = []  # what a process of the pool said when it was interrupted; it takes no further run


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """What a sweep did.

    Attributes:
        csv: all runs of the grid that are finished, by whichever process.
        finished: how many these are.
        jobs: runs of the grid.
        failed: name: what its training said.
    """

    csv: Path
    finished: int
    jobs: int
    failed: dict[str, str]


def run_sweep(
    grid: Path,
    output: Path,
    *,
    parallel: int,
    on_done: Callable[[int, int], None] = lambda _done, _jobs: None,
    environment: Mapping[str, str] = os.environ,
) -> SweepResult:
    """Train every run of a grid that is not finished yet, each in a process of its own.

    Under torchrun each process takes its share of the runs; `output` must be one folder for all of them.

    Args:
        grid: see `mmoe_embed.design.grid`.
        output: folder for a recipe and a folder of each run, and for runs.csv.
        parallel: runs at a time.
        on_done: called with (finished runs, all runs) of this process's share.
        environment: where torchrun says which process this is.

    Raises:
        ToolkitError: a bad grid, or data that is missing.
    """
    jobs = read_grid(grid)
    own = jobs[int(environment.get("RANK", "0")) :: int(environment.get("WORLD_SIZE", "1"))]
    _prepare_data(jobs[0], output)
    failed: dict[str, str] = {}
    spawn = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
    with concurrent.futures.ProcessPoolExecutor(parallel, spawn, initializer=_stand_alone) as pool:
        try:
            waiting = {pool.submit(_train, job, output): job.name for job in own}
            for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
                if message := future.result():
                    failed[waiting[future]] = message
                on_done(done, len(own))
                _write_csv(jobs, output)
        except BaseException:  # Ctrl-C reaches the trainings too, which keep what they have
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return SweepResult(output / RUNS, _write_csv(jobs, output), len(jobs), failed)


def _prepare_data(job: Job, output: Path) -> None:
    """Learn the tokenizer and encode the data once: no run of a grid differs in them."""
    recipe = output / f"{job.name}.toml"
    (output / _SHARED).mkdir(parents=True, exist_ok=True)
    with _lock(output):
        write_whole(recipe, job.recipe.encode())
        prepare(recipe, load_recipe(recipe), output / _SHARED)


def _stand_alone() -> None:
    """In each process of the pool: what torchrun says to the sweep is not for its trainings."""
    for key in _TORCHRUN:
        os.environ.pop(key, None)


def _train(job: Job, output: Path) -> str:
    """Train one run unless it is finished; what went wrong, or nothing."""
    from mmoe_embed.train.loop import RunInterruptedError, train_recipe  # noqa: PLC0415 - PyTorch, once a process

    folder, result = output / job.name, _result_file(output, job)
    if result.is_file() or _stopped:
        return "".join(_stopped)
    recipe = output / f"{job.name}.toml"
    write_whole(recipe, job.recipe.encode())
    if not folder.exists():
        folder.mkdir()
        shutil.copy(output / _SHARED / "tokenizer.json", folder)
        (folder / "data").symlink_to(Path("..") / _SHARED / "data")
    try:
        done = train_recipe(recipe, folder, resume=True)
    except RunInterruptedError as error:
        _stopped.append(error.message)
        return error.message
    except ToolkitError as error:
        return error.message
    losses = {stage: {name: vars(found) for name, found in held.items()} for stage, held in done.held_out.items()}
    write_whole(result, (json.dumps({"parameters": done.parameters, "held_out": losses}, indent=1) + "\n").encode())
    return ""


def _result_file(output: Path, job: Job) -> Path:
    """It says that a run is finished."""
    return output / f"{job.name}.json"


def _write_csv(jobs: list[Job], output: Path) -> int:
    with _lock(output):
        finished = [job.name for job in jobs if _result_file(output, job).is_file()]
        runs = [run for name in finished if (run := read_run(output / name))]
        write_whole(output / RUNS, write_runs(runs).encode())
    return len(runs)


@contextmanager
def _lock(output: Path) -> Iterator[None]:
    """One process of the sweep at a time."""
    with (output / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
