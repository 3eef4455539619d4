"""What the C++ runner prints, against the golden."""

import subprocess

import numpy as np

from mmoe_embed.executorch.session import Session
from mmoe_embed.golden import Golden
from mmoe_embed.quantized import Quantized

CHECK_PROMPT = [5, 299, 17, 4, 4, 250, 33, 8, 101, 0, 7]


def run(*command, timeout_s=120):
    """A program with its output as text."""
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=timeout_s
    )


def check_golden(model: Quantized, output: str, count: int) -> None:
    """After CHECK_PROMPT: lines of logits and tokens in turn, `count` of each, then the memory."""
    check_logits(Golden(model), output, count)


def check_logits(reference: Golden | Session, output: str, count: int) -> None:
    """As check_golden, against what has not taken a token yet."""
    logits = reference.prefill(CHECK_PROMPT)
    *lines, memory = output.splitlines()
    assert len(lines) == 2 * count
    for bits, token in zip(lines[::2], lines[1::2], strict=True):
        word, *found = bits.split()
        assert word == "logits"
        assert found == [f"{value:08x}" for value in np.ascontiguousarray(logits).view(np.uint32)]
        assert int(token) == logits.argmax()
        logits = reference.step(int(token))
    assert memory.startswith("peak resident ")
