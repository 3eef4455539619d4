"""What MLPerf Tiny's reference runner needs to drive a board: device list, test scripts, data set (SPEC.md 8.2)."""

import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path

from mmoe_embed.errors import ToolkitError
from mmoe_embed.prompt import describe_long_prompt
from mmoe_embed.quantized import Quantized
from mmoe_embed.tokens import Tokens

MAX_INPUT_BYTES = 512  # MMOE_INPUT_BYTES
TRUTH_FILE = "y_labels.csv"
PLACEHOLDER_USB = (0x1209, 0x0001)  # pid.codes' test identity: of a board that is on no USB


@dataclasses.dataclass(frozen=True)
class Task:
    """One input of a classification task and the class it has."""

    name: str
    data: bytes
    label: int  # index of the right candidate


def encode_input(text: str, candidates: Sequence[int]) -> bytes:
    """The bytes that `db` commands carry: number of candidates, candidates, text."""
    return struct.pack(f"<B{len(candidates)}H", len(candidates), *candidates) + text.encode()


def make_tasks(model: Quantized, pairs: Sequence[tuple[str, str]]) -> tuple[list[int], list[Task]]:
    """Turn a data set into a classification: which token does the answer begin with?

    Args:
        model: its tokenizer is used.
        pairs: (prompt, completion).

    Returns:
        (candidates, tasks): the first tokens of all completions, and a task a pair.

    Raises:
        ToolkitError: fewer than two kinds of answer, or more than 255; an input over 512 bytes, or over the context.
    """
    tokens = Tokens(model.tokenizer)
    first = [(tokens.encode(completion) or [model.generation.stop_token])[0] for _, completion in pairs]
    candidates = sorted(set(first))
    if not 2 <= len(candidates) <= 255:
        raise ToolkitError(
            f"the answers begin with {len(candidates)} different tokens; a classification has 2 to 255",
            try_="another data set, or another --limit",
        )
    context = model.config.max_position_embeddings
    framing = len(model.generation.prefix_tokens) + len(model.generation.suffix_tokens)
    tasks = []
    for number, ((prompt, _), token) in enumerate(zip(pairs, first, strict=True)):
        data = encode_input(prompt, candidates)
        if len(data) > MAX_INPUT_BYTES:
            over = len(data) - MAX_INPUT_BYTES
            raise ToolkitError(
                f"an input has {len(data)} B, a board takes {MAX_INPUT_BYTES} B ({over} B over)",
                at=f"{prompt[:60]!r}, {len(candidates)} candidates",
                try_="shorter prompts, or fewer kinds of answer",
            )
        count = framing + len(tokens.encode(prompt))
        if count > context:  # the board would refuse it, and the runner stop without a word of why
            raise describe_long_prompt(count, context, prompt)
        tasks.append(Task(f"{number:05d}.bin", data, candidates.index(token)))
    return candidates, tasks


def write_runner_files(
    folder: Path,
    model_id: str,
    tasks: Sequence[Task],
    classes: int,
    *,
    baud: int,
    usb: tuple[int, int] = PLACEHOLDER_USB,
    iterations: int = 20,
    warm_up: int = 5,
) -> None:
    """Write devices.yaml, tests_accuracy.yaml, tests_performance.yaml and datasets/ID/.

    Args:
        folder: made if it is not there.
        model_id: its first 8 digits are what `profile%` answers; the runner looks the test up by them.
        tasks: what to ask.
        classes: number of candidates.
        baud: of the board's port.
        usb: vendor and product of its adapter; the runner finds boards by them alone.
        iterations: inferences in each of the 5 loops of performance mode.
        warm_up: inferences before each.
    """
    name = model_id[:8]
    data = folder / "datasets" / name
    data.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        (data / task.name).write_bytes(task.data)
    rows = [f"{task.name},{classes},{task.label},{len(task.data)},0\n" for task in tasks]
    (data / TRUTH_FILE).write_text("".join(rows))
    vendor, product = usb
    (folder / "devices.yaml").write_text(
        f"- name: mmoe-embed\n  type: dut\n  baud: {baud}\n  usb:\n    0x{vendor:04X}: 0x{product:04X}\n"
    )
    for mode, loop, infer in (
        ("accuracy", f"loop {len(tasks)}", "infer 1 0"),
        ("performance", "loop 5", f"infer {iterations} {warm_up}"),
    ):
        (folder / f"tests_{mode}.yaml").write_text(
            f'"{name}":\n  name: first_token\n  model: "{name}"\n  truth_file: {TRUTH_FILE}\n'
            f"  script:\n    - {loop}:\n      - download\n      - {infer}\n"
        )
