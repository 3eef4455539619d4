"""`mmoe-embed run`: prompt the board and stream its answer."""

import sys
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from mmoe_embed.board import Board
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.cli.board_session import build_argument, open_build, port_options
from mmoe_embed.cli.extras import load_program_verbs
from mmoe_embed.cli.output import Result, console, verb, wants_json
from mmoe_embed.errors import ToolkitError, UsageError
from mmoe_embed.executorch.program_file import check_program
from mmoe_embed.golden import Golden
from mmoe_embed.prompt import describe_long_prompt, stream_answer
from mmoe_embed.quantized import load_quantized
from mmoe_embed.sampling import LEAST_TEMPERATURE, MOST_TEMPERATURE, Sampling
from mmoe_embed.serial.client import BoardClient, StatusError, TextTooLongError
from mmoe_embed.tokens import describe_no_text
from mmoe_embed.validate_report import describe_cost

_UNSUPPORTED = -9  # MMOE_E_UNSUPPORTED: a classifier
_TEXT = -10  # MMOE_E_TEXT: this prompt has too many tokens, or none; the next one may be right


@verb("run")
@build_argument
@click.argument("prompt", required=False)
@port_options
@click.option(
    "--temperature",
    type=click.FloatRange(LEAST_TEMPERATURE, MOST_TEMPERATURE),
    help="Draw the answer's tokens; below 1 sharpens. Default: greedy.",
)
@click.option("--top-k", type=click.IntRange(min=0), metavar="K", help="Draw from the K likeliest. Default: all.")
@click.option("--seed", type=click.IntRange(min=0, max=0xFFFFFFFF), help="Of the draws. Default: 0.")
@click.option("--verbose", "-v", is_flag=True, help="Say what the answer cost, on stderr.")
def command(
    build: Path,
    prompt: str | None,
    port: str | None,
    baud: int | None,
    temperature: float | None,
    top_k: int | None,
    seed: int | None,
    verbose: bool,
) -> Result:
    """Send PROMPT to the board that runs BUILD and print its answer as it comes.

    BUILD may be a .pte of `mmoe-embed export`, which ExecuTorch runs on this machine.

    Without PROMPT every line of standard input that is not empty is a request; each gets one line of output.
    """
    if prompt is not None:
        _check_prompt(prompt)
    sampling = _sampling(temperature, top_k, seed)
    if build.suffix == ".pte":
        check_program(build)
        if verbose:
            raise UsageError("--verbose is for boards", at=str(build), try_="leave it out")
        requests = [(1, prompt)] if prompt is not None else _read_requests()
        of_program: Result = load_program_verbs().run_program(build, requests, sampling)
        return of_program
    answers = []
    with open_build(build, port, baud) as (folder, board, client):
        for number, request in [(1, prompt)] if prompt is not None else _read_requests():
            if verbose:
                client.reset(clear_statistics=True)
            answer, error = _answer(client, folder, request, sampling)
            answers.append({"prompt": request, "answer": answer, "error": error})
            if error:
                where = "" if prompt is not None else f"line {number}: "
                console.print(f"Error: {where}{error}", style="red", markup=False)
            elif verbose:
                console.print(_describe_cost(client, board), markup=False)
    if not answers:
        raise UsageError("there was no prompt on standard input", try_="one request a line, or PROMPT as an argument")
    failed = any(entry["error"] for entry in answers)
    return Result({"answers": answers}, exit_code=1 if failed else 0)


def _sampling(temperature: float | None, top_k: int | None, seed: int | None) -> Sampling | None:
    if temperature is not None:
        return Sampling(temperature, top_k or 0, seed or 0)
    if top_k is not None or seed is not None:
        raise UsageError("--top-k and --seed are of a drawn answer", try_="--temperature 0.8 as well")
    return None


def _read_requests() -> Iterator[tuple[int, str]]:
    """(line number, request) of standard input."""
    if sys.stdin.isatty():
        console.print("one request a line, Ctrl-D ends", style="dim")
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            request = line.decode().strip()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"not UTF-8 text: byte {error.start} of the line is 0x{line[error.start]:02x}",
                at=f"standard input, line {number}",
                try_="iconv -t UTF-8",
            ) from None
        if request:
            yield number, request


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise UsageError("PROMPT is empty", try_="give a request, or none to read requests from standard input")
    try:
        prompt.encode()
    except UnicodeEncodeError:  # bytes of the command line that are no text
        raise UsageError("PROMPT is not UTF-8 text", at=ascii(prompt[:60]), try_="a terminal with UTF-8") from None


def _answer(client: BoardClient, folder: BuildFolder, request: str, sampling: Sampling | None) -> tuple[str, str]:
    """(answer, error); prints the answer as it comes, and always one whole line."""
    silent = wants_json()
    pieces = []
    error = ""
    try:
        for piece in stream_answer(client, request, sampling):
            pieces.append(piece)
            if not silent:
                print(piece, end="", flush=True)
    except TextTooLongError as refusal:
        error = str(refusal)
    except StatusError as refusal:
        if refusal.status == _UNSUPPORTED:
            raise describe_no_text(str(folder.path)) from None
        if refusal.status != _TEXT:
            raise
        error = str(_explain(refusal, folder, request))
    finally:
        if not silent:
            print(flush=True)
    return "".join(pieces), error


def _explain(refusal: StatusError, folder: BuildFolder, request: str) -> ToolkitError:
    """Why the board refused a text, with the numbers that the build's own tokenizer gives."""
    if not folder.quantized.is_file():
        return refusal
    golden = Golden(load_quantized(folder.quantized))
    tokens, context = len(golden.prompt_tokens(request)), golden.config.max_position_embeddings
    return describe_long_prompt(tokens, context, request) if tokens > context else refusal


def _describe_cost(client: BoardClient, board: Board) -> str:
    statistics = client.statistics()
    identity = client.identity or client.identify()
    ticks = sum(op.ticks for op in client.profile())
    mean = describe_cost(ticks / max(1, statistics.steps), identity.tick_hz, board)
    rate = statistics.hit_rate
    hits = "" if rate is None else f", expert hit rate {100 * rate:.1f} %"
    return f"{statistics.steps} tokens, {mean}{hits}"
