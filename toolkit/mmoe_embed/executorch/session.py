"""A .pte program of `mmoe-embed export`, run by ExecuTorch's own runtime on this machine."""

import ctypes
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmoe_embed.errors import ToolkitError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ExecuTorch warns that its Python runtime is experimental
    from executorch.runtime import Runtime


class Session:
    """One sequence of tokens.

    Args:
        program: the .pte file.
        operators: the library of `build_operators`.

    Raises:
        ToolkitError: the file is not a program of `mmoe-embed export`.
    """

    def __init__(self, program: Path, operators: Path) -> None:
        if not program.is_file():
            raise ToolkitError(
                "no such program", at=str(program), try_="mmoe-embed export CHECKPOINT --board B -o FILE"
            )
        ctypes.CDLL(str(operators))
        self._program = Runtime.get().load_program(program)  # must outlive its methods
        if "decode" not in self._program.method_names:
            raise ToolkitError("the program has no method `decode`: mmoe-embed did not write it", at=str(program))
        self.model_id = str(self._program.load_method("mmoe_model_id").execute([])[0])
        self.context = int(self._program.load_method("mmoe_context").execute([])[0])
        self._decode = self._program.load_method("decode")
        self.position = 0

    def reset(self) -> None:
        """Start a new sequence; the cache needs no clearing."""
        self.position = 0

    def prefill(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Take tokens of a prompt, one after the other; returns the logits after the last."""
        *before, last = tokens
        for token in before:
            self.step(token)
        return self.step(last)

    def step(self, token: int) -> NDArray[np.float32]:
        """Take one token and return the float32 (vocabulary) logits of the next.

        Raises:
            ToolkitError: the context is full.
        """
        if self.position >= self.context:
            raise ToolkitError(f"the context of {self.context} tokens is full", try_="start a new sequence")
        inputs = [torch.tensor([token], dtype=torch.int64), torch.tensor([self.position], dtype=torch.int64)]
        logits: NDArray[np.float32] = self._decode.execute(inputs)[0].numpy().copy()
        self.position += 1
        return logits
