"""Does reading the next layer's experts ahead pay? What a plan expects of a trace, and what emulated boards measure.

    python examples/watch/prefetch.py --board qemu_mps2_an386 --board qemu_mps3_an547

Records a trace of the example's own requests on a host build, then builds each board for each speed of a modelled flash
and each number of guesses, and validates it: the bits are the golden's every time. Takes some minutes.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import PROMPTS, BuildFolder
from mmoe_embed.cli.board_session import open_build
from mmoe_embed.errors import MismatchError
from mmoe_embed.golden_board import load_golden
from mmoe_embed.paging.choose import read_workload
from mmoe_embed.paging.prefetch import Forecast, choose_prefetch
from mmoe_embed.paging.promise import Prefetched
from mmoe_embed.paging.record import TraceFile, describe_trace, record_trace
from mmoe_embed.plan import PlanRequest
from mmoe_embed.prompt import load_requests
from mmoe_embed.runners import connect_board
from mmoe_embed.validate import Report
from mmoe_embed.validate_build import choose_prompts, validate_build

HERE = Path(__file__).resolve().parent
NOTHING = Prefetched(0, 0, 0, 0.0)


def record(folder: Path, scheme: str) -> Path:
    """A trace of the example's requests, with what a prefetch would have guessed."""
    build = build_firmware(BuildRequest(HERE, "host_x86_64", folder / "host", scheme, PlanRequest(expert_slots=20)))
    golden, requests = load_golden(build), load_requests(build.path / PROMPTS)
    trace = TraceFile(folder / "trace.csv", describe_trace(golden, build.plan, build.build_id, requests))
    with connect_board(load_board(build.board), build) as client:
        record_trace(client, golden, requests, trace, expert_bytes=build.plan["expert_bytes"])
    return trace.file


def validate(build: BuildFolder, request: PlanRequest) -> Report:
    """The whole validation on the example's own requests."""
    golden = load_golden(build)
    prompts = choose_prompts(golden, load_requests(build.path / PROMPTS), 200, 0)
    with open_build(build.path, None, None) as (_, board, client):
        report = validate_build(client, build, golden, prompts)
    if not report.ok:
        raise MismatchError(f"{board.name} with {request.prefetch} guesses: not every check holds")
    return report


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", action="append", help="an emulated one; default: qemu_mps2_an386")
    parser.add_argument("--flash-model", nargs="+", default=["8M", "20M", "100M"])
    parser.add_argument("--prefetch", nargs="+", type=int, default=[0, 1, 2, 4])
    parser.add_argument("--scheme", default="int4")
    parser.add_argument("--sram", type=int, default=128 * 1024)
    options = parser.parse_args()
    print("| board, flash | guesses | planned us of stall a token | measured | hits | B a token read for nothing |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload = read_workload(record(folder, options.scheme))
        for board in options.board or ["qemu_mps2_an386"]:
            for flash in options.flash_model:
                request = PlanRequest(sram_bytes=options.sram, flash_model=flash, workload=workload)
                for guesses in options.prefetch:
                    request = dataclasses.replace(request, prefetch=guesses)
                    out = folder / f"{board}-{flash}-{guesses}"
                    build = build_firmware(BuildRequest(HERE, board, out, options.scheme, request))
                    print_row(board, flash, guesses, build, validate(build, request))


def print_row(board: str, flash: str, guesses: int, build: BuildFolder, report: Report) -> None:
    """One build."""
    paging, steps = report.paging, report.statistics.steps
    assert paging is not None
    found = paging.prefetch or NOTHING
    forecasts = [Forecast(**told) for told in build.plan["promise"]["forecasts"]]
    taken = ", which the plan takes" if guesses == choose_prefetch(forecasts) else ""
    cells = [
        f"{board}, {flash}",
        f"{guesses}{taken}",
        f"{paging.predicted_stall_us_per_token:,.0f}",
        f"{paging.stall_us_per_token:,.0f}",
        f"{100 * paging.hit_rate:.1f} %",
        f"{found.wasted_bytes / steps:,.0f}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
