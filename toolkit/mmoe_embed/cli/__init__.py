"""The `mmoe-embed` command: one module per verb, imported only when its verb is used."""

import importlib
import sys

import rich_click as click

from mmoe_embed import __version__
from mmoe_embed.cli.output import report_failure

# verb: one line of help. The verb's module is mmoe_embed.cli.<verb>, its click command is called `command`;
# a hyphen of a verb is an underscore there, and what is a word of Python has a name of its own.
VERBS = {
    "design": "find the model with the lowest predicted loss that a board can run",
    "train": "train a model from a recipe",
    "import": "turn a Hugging Face directory into a checkpoint",
    "export-checkpoint": "write an imported checkpoint back as its Hugging Face directory",
    "quantize": "turn a checkpoint into integers",
    "plan": "decide where every byte lives on a board",
    "fit": "say which boards a model runs on",
    "emit": "write the model as C",
    "export": "write the model as an ExecuTorch program",
    "adopt": "take an image that another build system linked",
    "build": "checkpoint to ELF: quantize, plan, emit, compile",
    "flash": "put a build on its board",
    "validate": "prove on the board that every logit has the golden's bits",
    "run": "prompt the board and stream its answer",
    "accuracy": "score a data set with the board's arithmetic",
    "mlperf": "write what the MLPerf Tiny runner needs to drive a board",
    "farm": "validate builds on many boards behind a labgrid coordinator",
    "bench": "measure kernels",
    "boards": "list and show the boards",
    "doctor": "say what is installed, what is missing, and how to get it",
    "trace": "record which experts a board uses",
    "update-expert": "replace experts of a running board",
    "profile": "show what a board computed, read and waited for",
    "margins": "measure what cache-aware routing costs and saves",
    "simulate": "replay a routing trace through the cache policies",
    "demo": "the whole road in one go: build, flash, validate, prompt",
}


_MODULES = {"import": "import_checkpoint"}


class _LazyGroup(click.RichGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"mmoe_embed.cli.{_MODULES.get(cmd_name, cmd_name).replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(
    cls=_LazyGroup, context_settings={"auto_envvar_prefix": "MMOE_EMBED", "help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="mmoe-embed")
def group() -> None:
    """Take a tiny Mixture-of-Experts model from PyTorch to a microcontroller, bit for bit."""


def _name_verb(arguments: list[str]) -> str:
    """The verb, and its subcommand where it has some, that a command line begins with; empty when there is none."""
    names: list[str] = []
    command: click.Command = group
    for word in arguments:
        child = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if child is None:
            break
        names.append(word)
        command = child
    return " ".join(names)


def main(argv: list[str] | None = None) -> None:
    """Run the command line; never returns, exits with the documented code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = group.main(arguments, prog_name="mmoe-embed", standalone_mode=False)
    except BaseException as error:
        code = report_failure(error, _name_verb(arguments), as_json="--json" in arguments)
    sys.exit(code if isinstance(code, int) else 0)
