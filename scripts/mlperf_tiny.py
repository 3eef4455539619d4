"""Runs the reference runner of MLPerf Tiny, unchanged, against the emulator of a build, in its two modes.

usage: .venv/bin/python scripts/mlperf_tiny.py BUILD DATASET.jsonl RUNNER PYTHON

RUNNER is benchmark/runner of a checkout of https://github.com/mlcommons/tiny, PYTHON an interpreter with what it
imports (numpy, scikit-learn, matplotlib, pyusb, pyyaml, pyserial; libusb on the system). The runner opens a serial
device, so the emulator's socket is led to a pty; it finds boards by their USB identity, so its list of ports is stood
in for.
"""

import argparse
import contextlib
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import tty
from pathlib import Path

from mmoe_embed.board import load_board
from mmoe_embed.build_folder import load_build
from mmoe_embed.mlperf import PLACEHOLDER_USB, make_tasks, write_runner_files
from mmoe_embed.prompt import load_pairs
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import start_board

_STAND_IN = """
import runpy, sys
from types import SimpleNamespace
from serial.tools import list_ports
port, vendor, product = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
del sys.argv[1:4]
list_ports.comports = lambda *_: [SimpleNamespace(device=port, vid=vendor, pid=product, description="emulated")]
sys.path.insert(0, ".")
runpy.run_path("main.py", run_name="__main__")
"""


def _carry(board: socket.socket, master: int) -> None:
    """Bytes both ways, until one side is closed."""
    with contextlib.suppress(OSError):
        while True:
            for source in select.select([board, master], [], [])[0]:
                if source is board:
                    data = board.recv(4096)
                    os.write(master, data)
                else:
                    data = os.read(master, 4096)
                    board.sendall(data)
                if not data:
                    return


def main() -> int:
    """Run both modes; the exit code is that of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runner", type=Path)
    parser.add_argument("python", type=Path)
    parser.add_argument("--limit", type=int, default=40, help="only the first so many lines of the data set")
    parser.add_argument("--iterations", type=int, default=20, help="inferences in each of 5 loops")
    arguments = parser.parse_args()
    build = load_build(arguments.build)
    board = load_board(build.board)
    candidates, tasks = make_tasks(load_quantized(build.quantized), load_pairs(arguments.dataset)[: arguments.limit])
    with tempfile.TemporaryDirectory() as folder, start_board(board, build.elf) as url:
        files = Path(folder)
        write_runner_files(
            files, build.model_id, tasks, len(candidates), baud=board.console.baud, iterations=arguments.iterations
        )
        address = url.removeprefix("socket://").partition(":")
        master, slave = os.openpty()
        tty.setraw(slave)
        with socket.create_connection((address[0], int(address[2]))) as connection:
            threading.Thread(target=_carry, args=(connection, master), daemon=True).start()
            for mode in ("accuracy", "performance"):
                command = [str(arguments.python.absolute()), "-c", _STAND_IN, os.ttyname(slave)]
                command += [*map(str, PLACEHOLDER_USB), "-m", mode[0], "-d", f"{files}/devices.yaml"]
                command += ["-t", f"{files}/tests_{mode}.yaml", "-s", f"{files}/datasets"]
                done = subprocess.run(command, cwd=arguments.runner, check=False)
                if done.returncode:
                    return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
