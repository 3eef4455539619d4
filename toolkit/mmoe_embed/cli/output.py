"""What every verb shares: results on stdout, messages on stderr, the JSON envelope, the exit code."""

import contextlib
import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Abort, ClickException, Exit
from click.exceptions import UsageError as ClickUsageError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mmoe_embed import __version__
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.whole_file import check_writable

ENVELOPE_VERSION = 1

# Progress and messages; stdout carries results only.
console = Console(stderr=True, highlight=False)


@contextlib.contextmanager
def training_extra() -> Iterator[None]:
    """Around the import of what trains.

    Raises:
        ToolkitError: PyTorch is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolkitError(
            "training needs PyTorch, which is not installed", try_="pip install 'mmoe-embed[train]'"
        ) from None


def check_reports(*files: Path | None) -> None:
    """Before the work: each can be written, and none over another.

    Raises:
        UsageError: two of them are the same file.
        OSError: one cannot be written; it names the file.
    """
    named = [file for file in files if file is not None]
    for number, file in enumerate(named):
        check_writable(file)
        if not file.is_char_device() and file.resolve() in (other.resolve() for other in named[:number]):
            raise UsageError("two reports into one file", at=str(file), try_="a file for each")


def progress_bar() -> Progress:
    """What is done of how much, and the time left; it goes away when it ends."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


class CountingBar:
    """A bar that moves one by one, as library functions with callbacks want it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def expect(self, total: int) -> None:
        """How many there will be."""
        self._progress.update(self._task, total=total)

    def advance(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)


@contextlib.contextmanager
def count_up(what: str) -> Iterator[CountingBar]:
    """A bar while something is done."""
    with progress_bar() as progress:
        yield CountingBar(progress, progress.add_task(what, total=None))


@dataclasses.dataclass(frozen=True)
class Result:
    """What a verb returns: `data` for machines, `text` for people; when a check failed `exit_code`, and which one."""

    data: dict[str, Any]
    text: str = ""
    exit_code: int = 0
    failure: str = ""


def _print_envelope(verb: str, exit_code: int, data: dict[str, Any], error: dict[str, str] | None) -> None:
    envelope = {
        "envelope": ENVELOPE_VERSION,
        "tool": "mmoe-embed",
        "version": __version__,
        "verb": verb,
        "status": "failed" if exit_code else "ok",
        "exit_code": exit_code,
        "data": data,
        "error": error,
    }
    print(json.dumps(envelope, indent=2, default=str))


class VerbCommand(click.RichCommand):
    """A click command with `--json`, whose callback returns a `Result`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())

    def invoke(self, ctx: click.Context) -> int:
        return _print_result(ctx, super().invoke(ctx))


class VerbGroup(click.RichGroup):
    """A verb that has subcommands too: without one, its callback's `Result` is what it gives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"invoke_without_command": True})
        self.params.append(_json_option())

    def invoke(self, ctx: click.Context) -> int:
        result = super().invoke(ctx)
        return _print_result(ctx, result) if isinstance(result, Result) else result


def _json_option() -> click.Option:
    return click.Option(
        ["--json", "as_json"],
        is_flag=True,
        expose_value=False,
        help="Print one JSON object on stdout.",
        callback=_remember_json,
    )


def _print_result(ctx: click.Context, result: Result) -> int:
    if ctx.meta.get("mmoe_embed.json"):
        verb = ctx.command_path.removeprefix("mmoe-embed ")
        said = result.failure or (result.text.splitlines()[0] if result.text else "a check failed, see data")
        failure = {"message": said, "at": "", "try": ""} if result.exit_code else None
        _print_envelope(verb, result.exit_code, result.data, failure)
    elif result.text:
        print(result.text)
    return result.exit_code


def _remember_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta["mmoe_embed.json"] = value
    return value


def verb(name: str, **attributes: Any) -> Callable[[Callable[..., Result]], click.Command]:
    """Make a click command of a function that returns a `Result`; adds `--json`."""
    return click.command(name, cls=VerbCommand, **attributes)


def wants_json() -> bool:
    """Whether the running verb was asked for JSON (then nothing else may go to stdout)."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get("mmoe_embed.json"))


_OS_ADVICE = {IsADirectoryError: "name a file in it", FileNotFoundError: "check the path, and that its folder exists"}


def report_failure(error: BaseException, verb: str, *, as_json: bool) -> int:
    """Print an error of a verb as the house does it and return the exit code: 1..6, or 130 when interrupted."""
    at = try_ = ""
    is_bug = False
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, ToolkitError):
        message, at, try_, code = error.message, error.at, error.try_, error.exit_code
    elif isinstance(error, ClickUsageError):
        hint = error.ctx.command_path if error.ctx else "mmoe-embed"
        message, try_, code = error.format_message(), f"{hint} --help", 2
    elif isinstance(error, ClickException):
        message, code = error.format_message(), error.exit_code
    elif isinstance(error, KeyboardInterrupt | Abort):
        message, code = "interrupted", 130
        try_ = "the same command again; where it has --resume, with that"
    elif isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    elif isinstance(error, OSError):
        message, at, code = error.strerror or str(error), str(error.filename or ""), 1
        try_ = _OS_ADVICE.get(type(error), "check that the folder exists, can be written and has room")
    else:
        message, code, is_bug = f"{type(error).__name__}: {error}", 1, True
        try_ = "this is a bug of mmoe-embed: please report it with the traceback below"
    if as_json:
        _print_envelope(verb, code, {}, {"message": message, "at": at, "try": try_})
    else:
        print(f"Error: {ToolkitError(message, at=at, try_=try_)}", file=sys.stderr)
    if is_bug or os.environ.get("MMOE_EMBED_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    return code
