"""`run` and `validate` of a program of `mmoe-embed export`, by ExecuTorch's own runtime on this machine."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.output import Result, wants_json
from mmoe_embed.config import decode_generation
from mmoe_embed.errors import MismatchError, ToolkitError, UsageError
from mmoe_embed.executorch.library import build_operators, installed_package
from mmoe_embed.executorch.session import Session
from mmoe_embed.golden import Floats, Golden, stream_tokens
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import SCHEMES
from mmoe_embed.resources import firmware_dir, hash_sources
from mmoe_embed.sampling import Sampling
from mmoe_embed.signals import draw_windows
from mmoe_embed.tokens import Tokens, describe_no_text
from mmoe_embed.validate import Prompt


def open_program(file: Path) -> Session:
    """A program, with the operators for this machine: built once, then kept in the user's cache."""
    made_of = f"{hash_sources()} {firmware_dir()} {installed_package()}"  # CMake keeps a folder for one of each
    folder = f"executorch-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    return Session(file, build_operators(user_cache_path("mmoe-embed") / folder))


def run_program(file: Path, requests: Iterable[tuple[int, str]], sampling: Sampling | None) -> Result:
    """Answer requests, each on a line of its own.

    Args:
        file: the .pte, with tokenizer.json and generation_config.json beside it.
        requests: numbers of lines, and texts.
        sampling: None is greedy.
    """
    session = open_program(file)
    if session.windows is not None:
        raise describe_no_text(str(file), "mmoe-embed validate FILE.pte --runtime executorch --checkpoint FOLDER")
    tokens = Tokens(*_read_beside(file, "tokenizer.json"))
    generation = decode_generation(*_read_beside(file, "generation_config.json"))
    answers = []
    for _, request in requests:
        prompt = [*generation.prefix_tokens, *tokens.encode(request), *generation.suffix_tokens]
        answer = tokens.decode(list(stream_tokens(session, session.context, generation, prompt, sampling)))
        answers.append({"prompt": request, "answer": answer, "error": ""})
        if not wants_json():
            print(answer, flush=True)
    return Result({"answers": answers})


def _read_beside(program: Path, name: str) -> tuple[str, str]:
    """A text file that `export` wrote beside the program, and its path."""
    file = program.parent / name
    try:
        return file.read_text("utf-8"), str(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ToolkitError(
            f"{name} cannot be read beside the program: {error}", at=str(file), try_="mmoe-embed export writes it again"
        ) from None


def validate_program(
    file: Path, checkpoint: Path, choose: Callable[[Golden], list[Prompt]], tolerance: float | None = None
) -> Result:
    """Feed the program and the golden the same tokens; compare every bit of every logit, step by step and in chunks.

    Args:
        file: the .pte.
        checkpoint: what it was exported from, in any scheme.
        choose: the prompts for a golden.
        tolerance: of a program that is not bit-exact: the largest difference that a logit may have; None for others.

    Raises:
        MismatchError: the program is of another model.
        UsageError: no tolerance for a program that is not bit-exact, or one for a program that is.
    """
    session = open_program(file)
    if not session.exact and tolerance is None:
        raise UsageError(
            "the program is not bit-exact by design: XNNPACK computes a part of it",
            at=str(file),
            try_="--tolerance 3, the largest difference of a logit, or export with --dense exact",
        )
    if session.exact and tolerance is not None:
        raise UsageError("the program is bit-exact: all its bits are compared", at=str(file), try_="no --tolerance")
    golden = _find_golden(session, file, checkpoint)
    if golden.windows is not None:
        golden.windows = session.windows = draw_windows(golden.model)
    found = Comparison()
    for prompt in choose(golden):
        found.follow(session, golden, prompt)
    lines = [f"model {session.model_id[:16]}, {file.name} by ExecuTorch on this machine"]
    lines += [f"logits bit-identical to the golden: {found.equal_logits} of {found.steps} steps"]
    lines += [f"after prefill of {session.chunk} tokens at most: {found.equal_passes} of {found.passes} passes"]
    right = found.equal_logits == found.steps and found.equal_passes == found.passes
    if tolerance is not None:
        both = found.steps + found.passes
        lines += [f"not bit-exact by design: a logit differs by {found.largest:.4g} at most, {tolerance:g} is allowed"]
        lines += [f"that is at most {found.largest_relative:.2%} of the largest logit of its step"]
        lines += [f"same greedy token as the golden: {found.same_tokens} of {both} ({found.same_tokens / both:.1%})"]
        right = found.largest <= tolerance
    data = {"model_id": session.model_id, "chunk": session.chunk} | dataclasses.asdict(found)
    text = "\n".join([*lines, *([found.first_difference] if found.first_difference else [])])
    return Result(data, text, exit_code=0 if right else MismatchError.exit_code)


@dataclasses.dataclass
class Comparison:
    """Program and golden side by side.

    Attributes:
        steps: of one token each; `equal_logits` of them have the golden's bits.
        passes: of the same tokens in chunks, the last token of each sequence as a step; `equal_passes` have.
        same_tokens: of steps and passes, those with the golden's greedy token.
        largest: difference of a logit; `largest_relative` to the golden's largest logit of the same step.
        first_difference: the first logit that differs, or "".
    """

    steps: int = 0
    equal_logits: int = 0
    passes: int = 0
    equal_passes: int = 0
    same_tokens: int = 0
    largest: float = 0.0
    largest_relative: float = 0.0
    first_difference: str = ""

    def follow(self, session: Session, golden: Golden, prompt: Prompt) -> None:
        """Take one prompt and its answer, in steps, then the same tokens in chunks."""
        session.reset()
        golden.reset()
        tokens = list(prompt.tokens)
        logits: list[Floats] = []
        for position in range(prompt.steps):
            if position == len(tokens):
                tokens.append(int(logits[-1].argmax()))
                if tokens[-1] == prompt.stop_token:
                    break
            logits.append(np.ascontiguousarray(golden.step(tokens[position])))
            same = self._compare(f"step {position}", session.step(tokens[position]), logits[-1])
            self.steps, self.equal_logits = self.steps + 1, self.equal_logits + same
        session.reset()
        fed = tokens[: len(logits)]
        for first in (*range(0, len(fed) - 1, session.chunk), len(fed) - 1):
            piece = fed[first : max(first + 1, min(first + session.chunk, len(fed) - 1))]
            end = first + len(piece) - 1
            same = self._compare(f"prefill of positions {first} to {end}", session.prefill(piece), logits[end])
            self.passes, self.equal_passes = self.passes + 1, self.equal_passes + same

    def _compare(self, where: str, found: Floats, expected: Floats) -> bool:
        has, wanted = found.view(np.uint32), expected.view(np.uint32)
        differing = np.flatnonzero(has != wanted)
        away = float(np.abs(found - expected).max())
        relative = away / float(np.abs(expected).max())
        self.largest = float(np.maximum(self.largest, away))  # a NaN stays
        self.largest_relative = float(np.maximum(self.largest_relative, relative))
        self.same_tokens += int(found.argmax() == expected.argmax())
        if differing.size and not self.first_difference:
            at = int(differing[0])
            bits = f"program 0x{has[at]:08x}, golden 0x{wanted[at]:08x}"
            self.first_difference = f"{where}, logit {at}: {bits}; {differing.size} logits differ there"
        return differing.size == 0


def _find_golden(session: Session, file: Path, checkpoint: Path) -> Golden:
    loaded = load_checkpoint(checkpoint)
    for scheme in SCHEMES:
        model = quantize_checkpoint(loaded, scheme)
        if model.model_id == session.model_id:
            return Golden(model)
    raise MismatchError(
        f"the program is of model {session.model_id[:16]}, which {checkpoint} gives in no scheme",
        at=str(file),
        try_="the checkpoint that it was exported from, or export it again",
    )
