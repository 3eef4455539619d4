"""Whether a file is a program of ExecuTorch, told without loading ExecuTorch."""

from pathlib import Path

from mmoe_embed.errors import ToolkitError

_EXPORT = "mmoe-embed export CHECKPOINT --board B -o FILE.pte"


def check_program(program: Path) -> None:
    """Look at the file's identifier: ExecuTorch logs another one, and its log ends the process where that is not text.

    Raises:
        ToolkitError: there is no such file, it cannot be read, or is no program.
    """
    if not program.is_file():
        raise ToolkitError("no such program", at=str(program), try_=_EXPORT)
    try:
        with program.open("rb") as file:
            identifier = file.read(8)[4:]
    except OSError as error:
        raise ToolkitError(f"the program cannot be read: {error}", at=str(program), try_="its permissions") from None
    if identifier[:2] != b"ET":  # executorch/schema/program.fbs: file_identifier
        raise ToolkitError("no ExecuTorch program", at=str(program), try_=_EXPORT)
