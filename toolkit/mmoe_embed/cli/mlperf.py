"""`mmoe-embed mlperf`: files with which the reference runner of MLPerf Tiny drives a board."""

import shlex
from pathlib import Path

import rich_click as click
from serial.tools import list_ports  # type: ignore[import-untyped]

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import load_build
from mmoe_embed.cli.board_session import build_argument
from mmoe_embed.cli.options import check_output
from mmoe_embed.cli.output import Result, verb
from mmoe_embed.errors import DeviceError
from mmoe_embed.mlperf import PLACEHOLDER_USB, make_tasks, write_runner_files
from mmoe_embed.prompt import load_pairs
from mmoe_embed.quantized import load_quantized


@verb("mlperf")
@build_argument
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Made if needed.")
@click.option("--port", "-p", metavar="DEVICE", help="The board's /dev/tty*: its USB identity goes into devices.yaml.")
@click.option("--limit", type=click.IntRange(min=2), help="Only the first so many lines.")
@click.option("--iterations", type=click.IntRange(min=1), default=20, show_default=True, help="In each of 5 loops.")
@click.option("--warm-up", type=click.IntRange(min=0), default=5, show_default=True, help="Before each loop.")
def command(
    build: Path, dataset: Path, output: Path, port: str | None, limit: int | None, iterations: int, warm_up: int
) -> Result:
    """Write what the runner of mlcommons/tiny needs to measure the board that runs BUILD.

    The task: which token does the answer begin with? DATASET is JSON lines of prompt and completion.
    """
    folder = load_build(build)
    check_output(output)
    usb = _find_usb(port) if port else PLACEHOLDER_USB
    candidates, tasks = make_tasks(load_quantized(folder.quantized), load_pairs(dataset)[:limit])
    baud = load_board(folder.board).console.baud
    write_runner_files(
        output, folder.model_id, tasks, len(candidates), baud=baud, usb=usb, iterations=iterations, warm_up=warm_up
    )
    where = shlex.quote(str(output.resolve()))
    commands = [
        f"python main.py -m {mode[0]} -d {where}/devices.yaml -t {where}/tests_{mode}.yaml -s {where}/datasets"
        for mode in ("accuracy", "performance")
    ]
    data = {"model": folder.model_id[:8], "inputs": len(tasks), "classes": len(candidates), "commands": commands}
    text = f"{len(tasks)} inputs of {len(candidates)} classes; in benchmark/runner of mlcommons/tiny:"
    return Result(data, "\n".join([text, *(f"  {line}" for line in commands)]))


def _find_usb(port: str) -> tuple[int, int]:
    for found in list_ports.comports(include_links=True):
        if found.device == port and found.vid is not None:
            return int(found.vid), int(found.pid)
    raise DeviceError(
        f"{port} is no USB adapter that is plugged in, and the runner finds boards by their USB identity only",
        at=port,
        try_="leave --port out and write vendor and product into devices.yaml",
    )
