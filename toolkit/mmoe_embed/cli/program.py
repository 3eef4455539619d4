"""`run` and `validate` of a program of `mmoe-embed export`, by ExecuTorch's own runtime on this machine."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
from platformdirs import user_cache_path

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.cli.output import Result, wants_json
from mmoe_embed.config import GenerationConfig, read_bytes
from mmoe_embed.errors import MismatchError
from mmoe_embed.executorch.library import build_operators
from mmoe_embed.executorch.session import Session
from mmoe_embed.golden import Golden, stream_tokens
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import SCHEMES
from mmoe_embed.resources import hash_sources
from mmoe_embed.sampling import Sampling
from mmoe_embed.tokens import Tokens
from mmoe_embed.validate import Prompt


def open_program(file: Path) -> Session:
    """A program, with the operators for this machine: built once, then kept in the user's cache."""
    return Session(file, build_operators(user_cache_path("mmoe-embed") / f"executorch-{hash_sources()[:16]}"))


def run_program(file: Path, requests: Iterable[tuple[int, str]], sampling: Sampling | None) -> Result:
    """Answer requests, each on a line of its own.

    Args:
        file: the .pte, with tokenizer.json and generation_config.json beside it.
        requests: numbers of lines, and texts.
        sampling: None is greedy.
    """
    session = open_program(file)
    tokens = Tokens(read_bytes(file.parent / "tokenizer.json").decode())
    text = read_bytes(file.parent / "generation_config.json")
    generation = msgspec.json.decode(text, type=GenerationConfig)
    answers = []
    for _, request in requests:
        prompt = [*generation.prefix_tokens, *tokens.encode(request), *generation.suffix_tokens]
        answer = tokens.decode(list(stream_tokens(session, session.context, generation, prompt, sampling)))
        answers.append({"prompt": request, "answer": answer, "error": ""})
        if not wants_json():
            print(answer, flush=True)
    return Result({"answers": answers})


def validate_program(file: Path, checkpoint: Path, choose: Callable[[Golden], list[Prompt]]) -> Result:
    """Feed the program and the golden the same tokens; compare every bit of every logit.

    Args:
        file: the .pte.
        checkpoint: what it was exported from, in any scheme.
        choose: the prompts for a golden.

    Raises:
        MismatchError: the program is of another model.
    """
    session = open_program(file)
    golden = _find_golden(session, file, checkpoint)
    steps = equal = 0
    first = ""
    for number, prompt in enumerate(choose(golden)):
        session.reset()
        golden.reset()
        token, position = prompt.tokens[0], 0
        while position < prompt.steps:
            expected = np.ascontiguousarray(golden.step(token)).view(np.uint32)
            found = session.step(token).view(np.uint32)
            differing = np.flatnonzero(expected != found)
            steps, equal, position = steps + 1, equal + (differing.size == 0), position + 1
            if differing.size and not first:
                index = int(differing[0])
                first = (
                    f"prompt {number}, position {position - 1}, token {token}, logit {index}: program "
                    f"0x{found[index]:08x}, golden 0x{expected[index]:08x}; {differing.size} logits differ there"
                )
            token = (
                prompt.tokens[position] if position < len(prompt.tokens) else int(expected.view(np.float32).argmax())
            )
            if position >= len(prompt.tokens) and token == prompt.stop_token:
                break
    lines = [f"model {session.model_id[:16]}, {file.name} by ExecuTorch on this machine"]
    lines += [f"logits bit-identical to the golden: {equal} of {steps} steps", *([first] if first else [])]
    data = {"model_id": session.model_id, "steps": steps, "equal_logits": equal, "first_difference": first or None}
    return Result(data, "\n".join(lines), exit_code=0 if equal == steps else MismatchError.exit_code)


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
