"""A .pte program of `mmoe-embed export`, run by ExecuTorch's own runtime on this machine."""

import contextlib
import ctypes
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmoe_embed.errors import ToolkitError
from mmoe_embed.executorch.program_file import check_program

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ExecuTorch warns that its Python runtime is experimental
    from executorch.runtime import Runtime


# mmoe_status.h; what an operator or the backend of paged experts can give, and what to try
_EXPORT = "export the program again"
_WINDOW = "mmoe_window"  # a constant of a classifier
_FAILURES = {
    -1: (
        "the paging plan in the program is damaged, there is no memory for its slots, "
        "or its tensors do not begin at multiples of 16 bytes (MMOE_E_ARGUMENT)",
        _EXPORT,
    ),
    -2: ("the position is not where the sequence is, or beyond the context (MMOE_E_CONTEXT)", "start a new sequence"),
    -3: ("the token is not in the vocabulary (MMOE_E_TOKEN)", "tokens of the tokenizer.json beside the program"),
    -4: ("an activation is too large or NaN (MMOE_E_NUMERIC)", "mmoe-embed validate, and the checkpoint's weights"),
    -5: ("an expert's page does not match its CRC-32 (MMOE_E_PAGE_CRC)", _EXPORT),
    -6: (
        "an expert's page could not be read: the file ends before it, or it is not there (MMOE_E_PAGE_READ)",
        f"put the .ptd beside the .pte, or {_EXPORT}",
    ),
    -8: ("the experts are not those of the program, or their file ends too early (MMOE_E_IMAGE)", _EXPORT),
    -9: (
        "another program with paged experts is loaded, only one at a time in a process; or the process may start no "
        "thread for reading (MMOE_E_UNSUPPORTED)",
        "drop the other Session first, or use another process",
    ),
}


@dataclasses.dataclass(frozen=True)
class Paging:
    """How often an expert was in a slot when it was chosen or not, how many were read on a guess, what was read."""

    hits: int
    misses: int
    prefetched: int
    bytes_loaded: int


class Session:
    """One sequence of tokens.

    Args:
        program: the .pte file; a .ptd of the same name beside it is its experts.
        operators: the library of `build_operators`.

    Attributes:
        model_id: of the quantized model.
        context, chunk: tokens of a sequence, and of one pass, at most.
        exact: whether its logits have the golden's bits; they do not where XNNPACK computes a part.
        windows: float32 (count, window size), of a classifier: token i of the other methods is the i-th of them. None
            for a language model.

    Raises:
        ToolkitError: the file is not a program of `mmoe-embed export`, or is damaged.
    """

    def __init__(self, program: Path, operators: Path) -> None:
        check_program(program)
        self._library = ctypes.CDLL(str(operators))
        self._file, experts = program, program.with_suffix(".ptd")
        with self._named_errors():
            self._program = Runtime.get().load_program(program, data_path=experts if experts.is_file() else None)
            names = self._program.method_names
            if "decode" not in names:
                raise ToolkitError("the program has no method `decode`: mmoe-embed did not write it", at=str(program))
            constants = ("mmoe_model_id", "mmoe_context", "mmoe_chunk", "mmoe_exact")
            model_id, context, chunk, exact = (self._program.load_method(name).execute([])[0] for name in constants)
            window = int(self._program.load_method(_WINDOW).execute([])[0]) if _WINDOW in names else 0
            self._methods = {name: self._program.load_method(name) for name in ("decode", "prefill") if name in names}
        self.model_id, self.context, self.chunk, self.exact = str(model_id), int(context), int(chunk), bool(exact)
        self.windows = np.zeros((0, window), np.float32) if window else None
        self.position = 0

    def reset(self) -> None:
        """Start a new sequence; the cache needs no clearing."""
        self.position = 0

    def prefill(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Take tokens of a prompt, at least one, a chunk at a time; returns the logits after the last.

        Raises:
            ToolkitError: the context is full; the chunks before have been taken.
        """
        logits = self._run(tokens[: self.chunk])
        for first in range(self.chunk, len(tokens), self.chunk):
            logits = self._run(tokens[first : first + self.chunk])
        return logits

    def step(self, token: int) -> NDArray[np.float32]:
        """Take one token and return the float32 (vocabulary) logits of the next.

        Raises:
            ToolkitError: the context is full.
        """
        return self._run([token])

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take windows of a sequence, float32 (count, window size); returns the scores of classes after the last.

        Raises:
            ToolkitError: the context is full, the program is no classifier, or its windows have another size.
        """
        if self.windows is None or windows.ndim != 2 or windows.shape[1] != self.windows.shape[1]:
            takes = "tokens" if self.windows is None else f"windows of {self.windows.shape[1]} numbers"
            raise ToolkitError(f"the program takes {takes}, not {windows.shape}", at=str(self._file))
        self.windows = np.ascontiguousarray(windows, np.float32)
        return self.prefill(range(len(windows)))

    def _run(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        if self.position + len(tokens) > self.context:
            raise ToolkitError(f"the context of {self.context} tokens is full", try_="start a new sequence")
        inputs = [self._read(tokens), torch.tensor([self.position], dtype=torch.int64)]
        with self._named_errors():
            method = self._methods["decode" if len(tokens) == 1 else "prefill"]
            logits: NDArray[np.float32] = method.execute(inputs)[0].numpy().copy()
        self.position += len(tokens)
        return logits

    def _read(self, tokens: Sequence[int]) -> torch.Tensor:
        if self.windows is None:
            return torch.tensor(tokens, dtype=torch.int64)
        if not all(0 <= token < len(self.windows) for token in tokens):
            raise ToolkitError(f"there is no such window: they are {len(self.windows)}", at=str(self._file))
        return torch.from_numpy(self.windows[list(tokens)])

    def count_paging(self) -> Paging:
        """What paging did since the program was loaded; zeros where its experts are not paged."""
        counts = (ctypes.c_uint32(), ctypes.c_uint32(), ctypes.c_uint32(), ctypes.c_uint64())
        self._library.mmoe_executorch_paging(*map(ctypes.byref, counts))
        return Paging(*(count.value for count in counts))

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        self._library.mmoe_executorch_failure()
        try:
            yield
        except RuntimeError as error:
            status = self._library.mmoe_executorch_failure()
            other = (f"ExecuTorch refuses the program, which may be damaged or cut short: {error}", _EXPORT)
            what, remedy = _FAILURES.get(status, other)
            raise ToolkitError(what, at=str(self._file), try_=remedy) from None
