"""`mmoe-embed demo`: build, flash, validate and one prompt, each by its own verb, with a summary at the end."""

from pathlib import Path
from typing import Any

import rich_click as click

from mmoe_embed.checkpoint import checkpoint_folder
from mmoe_embed.cli import build as build_verb
from mmoe_embed.cli import flash as flash_verb
from mmoe_embed.cli import validate as validate_verb
from mmoe_embed.cli.board_session import open_build
from mmoe_embed.cli.options import board_option, checkpoint_argument, plan_options, scheme_option, storage_options
from mmoe_embed.cli.output import Result, console, verb
from mmoe_embed.config import load_config
from mmoe_embed.prompt import stream_answer
from mmoe_embed.toolchain import COMPILERS

_REQUEST = "wake me at ten past six"


@verb("demo")
@checkpoint_argument
@board_option
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The build folder.")
@scheme_option
@plan_options
@storage_options
@click.option("--compiler", type=click.Choice(COMPILERS), help="Default: the first that is installed.")
@click.option("--prompt", default=_REQUEST, show_default=True, help="What to ask the board.")
@click.pass_context
def command(ctx: click.RichContext, /, output: Path, prompt: str, **build_options: Any) -> Result:
    """Take CHECKPOINT the whole road: build, flash, validate, and one prompt answered by the board.

    A classifier of signals is asked nothing: it has no text.
    """
    results = {}
    for title, other, options in (
        ("build", build_verb.command, {**build_options, "output": output}),
        ("flash", flash_verb.command, {"build": output}),
        ("validate", validate_verb.command, {"build": output}),
    ):
        console.rule(f"mmoe-embed {title}", align="left")
        result: Result = ctx.invoke(other, **options)
        console.print(result.text, markup=False)
        if result.exit_code:
            return result
        results[title] = result.data

    answered = {}
    if not load_config(checkpoint_folder(build_options["checkpoint"])).is_classifier:
        answered = {"answer": _ask(output, prompt), "prompt": prompt}
    console.rule(align="left")
    return Result(answered | results, _summarize(answered, results))


def _ask(build: Path, prompt: str) -> str:
    console.rule("mmoe-embed run", align="left")
    with open_build(build, None, None) as (_, _, client):
        answer = "".join(stream_answer(client, prompt))
    console.print(f"{prompt!r} -> {answer}", markup=False)
    return answer


def _summarize(answered: dict[str, str], results: dict[str, dict[str, Any]]) -> str:
    plan, report = results["build"]["plan"], results["validate"]
    comparison, statistics = report["comparison"], report["statistics"]
    asked = statistics["hits"] + statistics["misses"]
    resident = plan["slots"] if plan["expert_mode"] == "resident" else 0
    instructions = report["instructions_per_token"]
    rows = [
        *([("answer", f"{answered['prompt']} -> {answered['answer']}")] if answered else []),
        (
            "speed",
            f"{instructions:,.0f} instructions a token, {1e6 / instructions:.2f} tokens per million instructions"
            if instructions
            else "see validate",
        ),
        ("SRAM", f"{plan['sram_used_bytes']} B used, {plan['sram_free_bytes']} B free"),
        (
            "experts",
            f"{plan['expert_count']} of {plan['expert_bytes']} B: {resident} resident, "
            f"{plan['expert_count'] - resident} paged through {plan['slots']} slots",
        ),
        ("cache", f"hit rate {100 * statistics['hits'] / asked:.1f} %" if asked else "not used"),
        ("proof", f"logits bit-identical to the golden: {comparison['equal_logits']} of {comparison['steps']} steps"),
    ]
    return "\n".join(f"{name:<8} {text}" for name, text in rows)
