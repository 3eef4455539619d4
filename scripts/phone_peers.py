"""Our runtime against llama.cpp and ExecuTorch's stock forms: one machine, one run, in turn; ratios only.

    python scripts/phone_peers.py build/s_mapped --llama-cpp s.gguf --executorch build/s_executorch

What the peers run is written by llama_cpp_peer.py and executorch_peer.py in scripts/peers, from the checkpoint that the
build comes from. A peer may live in a Python of its own: --llama-cpp-python, --executorch-python.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmoe_embed.bench.model import measure_model
from mmoe_embed.bench.phone import Request, measure_builds, with_threads
from mmoe_embed.bench.rounds import Ratio, compare_rounds
from mmoe_embed.board import load_board
from mmoe_embed.build_folder import BuildFolder, load_build
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board

PEERS = Path(__file__).parent / "peers"
CACHES = ("f16", "q8_0")  # of llama.cpp's keys and values; ours are INT8


@dataclasses.dataclass(frozen=True)
class Peers:
    """What stands beside our build; None is left out."""

    gguf: Path | None
    llama_python: Path
    programs: Path | None
    executorch_python: Path


def main() -> None:
    """Read the arguments, measure, print the ratios."""
    a = _read_arguments()
    build, request = load_build(a.build), Request(a.threads, a.prefill, tuple(a.context), a.tokens, rounds=1)
    peers = Peers(a.llama_cpp, a.llama_cpp_python, a.executorch, a.executorch_python)
    rounds: list[dict[str, dict[str, float]]] = []  # of a round, by whom and what: nanoseconds of a token
    versions: dict[str, str] = {}
    for _ in range(a.rounds):
        rounds.append(measure_round(build, request, peers, versions))
    ratios = compare(rounds)
    if a.json:
        print(json.dumps({"versions": versions, "time_over_ours": ratios, "rounds_ns": rounds}))
    else:
        print(render(ratios, len(rounds), versions, request))


def measure_round(
    build: BuildFolder, request: Request, peers: Peers, versions: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Everyone once; notes the peers' versions."""
    found = {"ours": measure_ours(build, request)}
    if peers.gguf:
        for cache in CACHES:
            options = ["--prefill", request.prefill, "--context", *request.contexts, "--tokens", request.decoded]
            command = [peers.llama_python, PEERS / "llama_cpp_peer.py", "run", peers.gguf, "--cache", cache]
            reply = _run_peer([*command, "--threads", request.threads, *options])
            versions["llama-cpp-python"] = reply["version"]
            versions["its build"] = reply["system"]
            found[f"llama.cpp, {cache} cache"] = {"prefill": reply["prefill_ns"]} | {
                f"decode at {context}": ns for context, ns in zip(request.contexts, reply["decode_ns"], strict=True)
            }
    if peers.programs:
        found["ours"] |= measure_our_moe(build, request)
        command = [peers.executorch_python, PEERS / "executorch_peer.py", "run", peers.programs]
        reply = _run_peer([*command, "--threads", request.threads])
        versions["ExecuTorch"] = reply["version"]
        for program, ns in reply["moe_ns"].items():
            form, _, tokens = program.rpartition("_")
            kind = "MoE decode" if tokens == "1" else "MoE prefill"
            found.setdefault(f"ExecuTorch, {form}", {})[kind] = ns
    return found


def measure_ours(build: BuildFolder, request: Request) -> dict[str, float]:
    """Nanoseconds of a token of our program."""
    speed = measure_builds([build], request).builds[0]
    return {"prefill": speed.prefill.fastest_ns} | {
        f"decode at {decode.context}": decode.speed.fastest_ns for decode in speed.decode
    }


def measure_our_moe(build: BuildFolder, request: Request) -> dict[str, float]:
    """Nanoseconds of a token in the MoE blocks of all layers of our program, inside the whole model."""
    board = with_threads(load_board(build.board), request.threads)
    with connect_board(board, build) as client:
        cost = measure_model(client, board, load_quantized(build.quantized), build.plan, request.prefill)
    moe = next(operation for operation in cost.operations if operation.name == "moe")
    return {"MoE prefill": moe.prefill, "MoE decode": moe.decode}


def compare(rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, Ratio]]:
    """By whom and what: how many times our time."""

    def times(name: str, what: str) -> list[float]:
        return [names[name][what] for names in rounds]

    return {
        name: {what: compare_rounds(times(name, what), times("ours", what)) for what in measured}
        for name, measured in rounds[0].items()
    }


def render(ratios: dict[str, dict[str, Ratio]], rounds: int, versions: dict[str, str], request: Request) -> str:
    """A table, medians in brackets."""
    what = list(ratios["ours"])
    width = max(map(len, ratios)) + 2
    lines = [
        f"{request.threads} threads, {rounds} rounds in turn, prefill of {request.prefill}: time over ours",
        " " * width + "".join(f"{key:>18}" for key in what),
    ]
    for name, row in ratios.items():
        cells = [str(row.get(key, "")) for key in what]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines + [f"{name}: {version}" for name, version in versions.items()])


def _run_peer(command: Sequence[object]) -> dict[str, Any]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        sys.exit(f"{command[1]} failed:\n{done.stderr[-2000:]}")
    reply: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reply


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="of a host board, with --expert-slots 0")
    parser.add_argument("--llama-cpp", type=Path, metavar="GGUF")
    parser.add_argument("--llama-cpp-python", type=Path, default=Path(sys.executable), metavar="PYTHON")
    parser.add_argument("--executorch", type=Path, metavar="FOLDER")
    parser.add_argument("--executorch-python", type=Path, default=Path(sys.executable), metavar="PYTHON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=256)
    parser.add_argument("--context", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
