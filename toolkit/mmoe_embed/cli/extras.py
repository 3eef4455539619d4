"""Parts of verbs that need an extra: imported by name when they are asked for, so that the verbs do without it."""

import functools
import importlib
import importlib.util
import logging
import warnings
from typing import Any

from mmoe_embed.errors import ToolchainError

# What ExecuTorch, PyTorch and torchao say of themselves whatever they are used for: logger and a part of the text, and
# the beginning of a warning. Nothing else of theirs is silenced.
_KNOWN_LOGS = (
    ("torchao", "Failed to load "),
    ("torch.utils._pytree", "is an Enum subclass and is now natively supported"),
)
_KNOWN_WARNINGS = (
    "This API is experimental and subject to change without notice",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "Mutation on a buffer in the model is detected",  # the KV cache, which no token reads before it is written
)


def load_program_verbs() -> Any:
    """`mmoe_embed.cli.program`.

    Raises:
        ToolchainError: ExecuTorch is not installed.
    """
    return _load("mmoe_embed.cli.program")


def load_export() -> Any:
    """`mmoe_embed.executorch.export`.

    Raises:
        ToolchainError: ExecuTorch is not installed.
    """
    return _load("mmoe_embed.executorch.export")


def require_executorch() -> None:
    """Nothing, where it is installed.

    Raises:
        ToolchainError: it is not.
    """
    if importlib.util.find_spec("executorch") is None:
        raise ToolchainError("ExecuTorch is not installed", try_="pip install 'mmoe-embed[phone]'")


def _load(module: str) -> Any:
    require_executorch()
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    _silence_known_logs()
    return importlib.import_module(module)


@functools.cache
def _silence_known_logs() -> None:
    for logger, text in _KNOWN_LOGS:
        logging.getLogger(logger).addFilter(functools.partial(_says_else, text))


def _says_else(text: str, record: logging.LogRecord) -> bool:
    return text not in record.getMessage()
