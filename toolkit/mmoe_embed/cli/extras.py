"""Parts of verbs that need an extra: imported by name when they are asked for, so that the verbs do without it."""

import importlib
import importlib.util
from typing import Any

from mmoe_embed.errors import ToolchainError


def load_program_verbs() -> Any:
    """`mmoe_embed.cli.program`.

    Raises:
        ToolchainError: ExecuTorch is not installed.
    """
    if importlib.util.find_spec("executorch") is None:
        raise ToolchainError("ExecuTorch is not installed", try_="pip install 'mmoe-embed[phone]'")
    return importlib.import_module("mmoe_embed.cli.program")
