"""West extension commands: mmoe-embed in a Zephyr workspace. They call `west build` and the program `mmoe-embed`, found
beside west's Python or on PATH, or named by the environment variable MMOE_EMBED_PROGRAM.
"""

import argparse
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from west.commands import WestCommand

MODULE = Path(__file__).resolve().parents[2]
SAMPLE = MODULE / "examples" / "zephyr_watch"


class _Command(WestCommand):
    """What the four commands share."""

    name: str
    about: str
    usage: str

    def __init__(self) -> None:
        super().__init__(self.name, self.about, inspect.cleandoc(self.__doc__ or ""), accepts_unknown_args=True)

    def do_add_parser(self, parser_adder):  # type: ignore[no-untyped-def]
        """Options that all have, then the command's own."""
        parser: argparse.ArgumentParser = parser_adder.add_parser(
            self.name,
            help=self.about,
            description=inspect.cleandoc(self.__doc__ or ""),
            usage=f"west {self.name} {self.usage}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("-d", "--build-dir", type=Path, help="the build folder; default: build")
        self.add_options(parser)
        return parser

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Options of this command alone."""

    def run_tool(self, arguments: Sequence[str | Path]) -> int:
        """Run mmoe-embed; its messages and its exit code are the command's."""
        beside = Path(sys.executable).parent
        program = os.environ.get("MMOE_EMBED_PROGRAM") or shutil.which("mmoe-embed", path=str(beside))
        program = program or shutil.which("mmoe-embed")
        if program is None:
            self.stop("mmoe-embed is not installed", f"{sys.executable} -m pip install -e {MODULE}")
        command = [program, *map(str, arguments)]
        self.dbg("running: " + " ".join(command))
        return subprocess.run(command, check=False).returncode

    def build(self, arguments: Sequence[str | Path], quiet: bool = False) -> int:
        """`west build` of this workspace; quiet: its output is shown only when it fails."""
        command = [sys.executable, "-m", "west", "build", *map(str, arguments)]
        self.dbg("running: " + " ".join(command))
        done = subprocess.run(
            command,
            check=False,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            errors="replace",
        )
        if done.returncode and quiet:
            self.err(done.stdout)
        if done.returncode and "ZEPHYR_BASE" not in os.environ:
            self.err("west build needs Zephyr in this workspace's manifest")
        return done.returncode

    def build_folder(self, args: argparse.Namespace) -> Path:
        """The folder that `mmoe-embed adopt` completed."""
        folder: Path = (args.build_dir or Path("build")) / "mmoe_embed"
        if not (folder / "build.json").is_file():
            where = f" -d {args.build_dir}" if args.build_dir else ""
            self.stop(f"no image with a model in {folder.parent}", f"west mmoe-build -b BOARD{where} APPLICATION")
        return folder

    def stop(self, message: str, try_: str) -> NoReturn:
        self.die(f"{message}\n  try: {try_}")


class Build(_Command):
    """Builds a Zephyr application with `west build`.

    mmoe_embed_model() in its CMakeLists.txt emits and links the model; --model CHECKPOINT stands for the checkpoint
    named there. Without an APPLICATION and a CMakeLists.txt here, the sample of mmoe-embed is built, which serves a
    host on the console. Every other option is `west build`'s, and so is what follows `--`.
    """

    name = "mmoe-build"
    about = "build a Zephyr application and the model in it"
    usage = "[-h] [-d DIR] [--model CHECKPOINT] [-b BOARD] [options of west build] [APPLICATION] [-- CMAKE ARGUMENTS]"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--model", type=Path, metavar="CHECKPOINT", help="instead of the application's")

    def do_run(self, args: argparse.Namespace, unknown: list[str]) -> None:
        rest, cmake = _split_at_dashes(unknown)
        folder = args.build_dir or Path("build")
        if args.model is not None:
            cmake = [*cmake, f"-DMMOE_MODEL={args.model.resolve()}"]
        named = any(Path(word, "CMakeLists.txt").is_file() for word in rest if not word.startswith("-"))
        configured = (folder / "CMakeCache.txt").is_file()
        source = [] if named or configured or Path("CMakeLists.txt").is_file() else [SAMPLE]
        code = self.build(["-d", folder, *rest, *source, *(["--", *cmake] if cmake else [])])
        sys.exit(code)


def _split_at_dashes(words: list[str]) -> tuple[list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


class Flash(_Command):
    """Writes the image with the board's own runner (`west flash`), or starts it once where the board is an emulator.

    With --port the board is asked which build it runs. Every option is that of `mmoe-embed flash`.
    """

    name = "mmoe-flash"
    about = "put an application with a model on its board"
    usage = "[-h] [-d DIR] [options of mmoe-embed flash]"

    def do_run(self, args: argparse.Namespace, unknown: list[str]) -> None:
        folder = self.build_folder(args)
        sys.exit(self.run_tool(["flash", folder, "--west-build", folder.parent, *unknown]))


class Validate(_Command):
    """Compares every bit of every logit with the golden, on the board that runs the build, or in QEMU.

    Every option is that of `mmoe-embed validate`: --port, --steps, --junit, ...
    """

    name = "mmoe-validate"
    about = "prove on the board that every logit has the golden's bits"
    usage = "[-h] [-d DIR] [options of mmoe-embed validate]"

    def do_run(self, args: argparse.Namespace, unknown: list[str]) -> None:
        sys.exit(self.run_tool(["validate", self.build_folder(args), *unknown]))


class Plan(_Command):
    """Plans a model in the memories that the board's devicetree describes, overlays of the application included.

    With -b the application (here, or the sample of mmoe-embed) is configured for BOARD, and nothing is compiled; with
    -d the devicetree is that of a build folder. Where mmoe-embed has a board file for the same board, every
    disagreement with it is shown; devicetree counts. Every other option is that of `mmoe-embed plan`.
    """

    name = "mmoe-plan"
    about = "plan a model in the memories of the board's devicetree"
    usage = "[-h] (-b BOARD [--app APPLICATION] | -d DIR) CHECKPOINT [options of mmoe-embed plan]"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-b", "--board", help="as `west build -b` takes it")
        parser.add_argument("--app", type=Path, help="whose overlays count")
        parser.add_argument("checkpoint", type=Path)

    def do_run(self, args: argparse.Namespace, unknown: list[str]) -> None:
        if args.board and args.build_dir:
            self.stop("-b BOARD configures, -d DIR takes what is configured", "leave one of them out")
        with tempfile.TemporaryDirectory(prefix="mmoe-plan-") as scratch:
            if args.board:
                folder = Path(scratch) / "build"
                self.configure(args, folder)
            else:
                folder = args.build_dir or Path("build")
            zephyr = folder / "zephyr"
            if not (zephyr / "zephyr.dts").is_file():
                self.stop(f"no devicetree in {folder}", f"west mmoe-plan -b BOARD {args.checkpoint}")
            config = (zephyr / ".config").read_text()
            if "CONFIG_ARCH_POSIX=y\n" in config:  # as mmoe_embed.cmake: its devicetree has no memories
                sys.exit(self.run_tool(["plan", args.checkpoint, "--board", "host_x86_64", *unknown]))
            target = re.search(r'^CONFIG_BOARD_TARGET="(.+)"$', config, re.M)
            board = Path(scratch) / f"{re.sub(r'[^A-Za-z0-9_]', '_', target[1] if target else 'board')}.toml"
            dts = [zephyr / "zephyr.dts", "--config", zephyr / ".config"]
            code = self.run_tool(["boards", "devicetree", *dts, "--compare", "-o", board])
            other = re.search(r"^CONFIG_MMOE_EMBED_OTHER_RAM_BYTES=(\d+)$", config, re.M)
            ram = ["--other-ram", other[1]] if other else []
            sys.exit(code or self.run_tool(["plan", args.checkpoint, "--board", board, *ram, *unknown]))

    def configure(self, args: argparse.Namespace, folder: Path) -> None:
        """CMake alone, which leaves devicetree and configuration."""
        app = args.app or (Path.cwd() if Path("CMakeLists.txt").is_file() else SAMPLE)
        options = ["-p", "always", "--cmake-only", "-b", args.board, "-d", folder]
        if self.build([*options, app, "--", f"-DMMOE_MODEL={args.checkpoint.resolve()}"], quiet=True):
            self.stop(f"{app} could not be configured for {args.board}", "mend what it says above")
