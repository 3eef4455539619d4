"""python -m memory_planner: solve, compare and ablate problem files."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event
from types import FrameType

from memory_planner import render
from memory_planner.ablation import format_rows, measure_switches
from memory_planner.comparison import compare_solvers, format_table
from memory_planner.errors import CapacityError, PlannerError
from memory_planner.options import SearchOptions
from memory_planner.plan import Plan
from memory_planner.problem import Problem
from memory_planner.solver import solve
from memory_planner.table import read_csv


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memory_planner",
        description="Place buffers at the smallest peak, with a proof where one exists.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    solving = verbs.add_parser("solve", help="plan one file (CSV: id,lower,upper,size[,alignment][,offset])")
    solving.add_argument("file", type=Path)
    solving.add_argument("--capacity", type=int, help="stop where the peak fits; exit code 1 where it does not")
    solving.add_argument("--json", action="store_true", help="print JSON")
    solving.add_argument("--svg", type=Path, metavar="OUT", help="also draw the plan")
    comparing = verbs.add_parser("compare", help="tabulate every solver: peak over the lower bound, * proven")
    comparing.add_argument("files", nargs="+", type=Path, metavar="FILE")
    comparing.add_argument("--json", action="store_true", help="print JSON")
    ablating = verbs.add_parser("ablate", help="switch each technique off: processor seconds, or the ratio left")
    ablating.add_argument("files", nargs="+", type=Path, metavar="FILE")
    for verb, deadline in ((solving, 60.0), (comparing, 10.0), (ablating, 10.0)):
        verb.add_argument(
            "--deadline", type=seconds, default=deadline, metavar="S", help="seconds for a solve (%(default)s)"
        )
        verb.add_argument("--threads", type=int, default=1, choices=range(1, 65), metavar="N", help="(%(default)s)")
    return parser


def seconds(text: str) -> float:
    value = float(text)
    if math.isnan(value) or value < 0:
        raise ValueError
    return value


@contextmanager
def interrupt_once() -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second one is a KeyboardInterrupt."""
    stop = Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def describe_plan(problem: Problem, plan: Plan) -> dict[str, object]:
    """The plan as JSON data."""
    capacity = problem.pools[0].size_bytes
    return {
        "peak": plan.total_bytes,
        "lower_bound": plan.lower_bound_bytes,
        "proven": plan.proven,
        "gap": plan.gap,
        **({} if capacity is None else {"capacity": capacity, "fits": plan.total_bytes <= capacity}),
        "seconds": round(plan.seconds, 6),
        "cpu_seconds": round(plan.cpu_seconds, 6),
        "tried": [asdict(attempt) for attempt in plan.tried],
        "offsets": plan.offsets,
    }


def run_solve(arguments: argparse.Namespace) -> int:
    problem = read_csv(arguments.file, arguments.capacity)
    code = 0
    options = SearchOptions(threads=arguments.threads, until_it_fits=True)
    with interrupt_once() as stop:
        try:
            plan = solve(problem, arguments.deadline, options, stop=stop)
        except CapacityError as error:
            if error.plan is None:
                raise
            print(f"Error: {error}", file=sys.stderr)
            plan, code = error.plan, 1
        if stop.is_set():
            print("interrupted: this is the best plan so far", file=sys.stderr)
    if arguments.json:
        print(json.dumps(describe_plan(problem, plan)))
    else:
        for key, value in describe_plan(problem, plan).items():
            if key == "tried":
                print("tried:")
                print("\n".join(f"  {a.method}: {a.peak_bytes or '-'} {a.note}" for a in plan.tried))
            elif isinstance(value, dict):
                print("offsets:")
                print("\n".join(f"  {name} {offset}" for name, offset in value.items()))
            else:
                print(f"{key}: {json.dumps(value)}")
    if arguments.svg is not None:
        arguments.svg.write_text(render.svg(problem, plan), encoding="utf-8")
    return code


def run_compare(arguments: argparse.Namespace) -> int:
    options = SearchOptions(threads=arguments.threads)
    problems = [(path.name.removesuffix(".csv"), read_csv(path)) for path in arguments.files]
    results, code = [], 0
    try:
        for name, problem in problems:
            results.append(compare_solvers(name, problem, arguments.deadline, options))
    except KeyboardInterrupt:
        print("interrupted: these are done", file=sys.stderr)
        code = 130
    if not arguments.json:
        print(format_table(results))
        return code
    data = [
        {
            "file": item.name,
            "buffers": item.buffer_count,
            "lower_bound": item.lower_bound_bytes,
            "solvers": {
                e.solver: {"peak": e.peak_bytes, "proven": e.proven, "cpu_seconds": round(e.cpu_seconds, 6)}
                for e in item.entries
            },
        }
        for item in results
    ]
    print(json.dumps(data))
    return code


def run_ablate(arguments: argparse.Namespace) -> int:
    problems = {path.name.removesuffix(".csv"): read_csv(path) for path in arguments.files}
    print(format_rows(measure_switches(problems, arguments.deadline, SearchOptions(threads=arguments.threads))))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    arguments = build_parser().parse_args(argv)
    try:
        return {"solve": run_solve, "compare": run_compare, "ablate": run_ablate}[arguments.verb](arguments)
    except PlannerError as error:
        print(f"Error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"Error: {error.filename}: {error.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Error: interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
