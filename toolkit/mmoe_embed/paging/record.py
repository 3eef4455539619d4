"""Recording a routing trace on a board, prompt after prompt, so that an interrupted run can go on."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmoe_embed.errors import MismatchError, ToolkitError
from mmoe_embed.golden import Golden
from mmoe_embed.paging.trace import COLUMNS, DECODE, GUESS, PREFILL
from mmoe_embed.serial.client import BoardClient
from mmoe_embed.serial.replies import Routes
from mmoe_embed.weights import build_weights


def describe_trace(golden: Golden, plan: dict[str, Any], build_id: str, prompts: Sequence[str]) -> str:
    """The head of a trace: what it is a trace of, and the sizes that a replay needs."""
    config = golden.config
    sha256 = hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    lines = [
        "# route_trace v1",
        f"# model={golden.model.model_id} n_layer={len(config.routed_layers)} n_expert={config.num_experts}"
        f" n_expert_used={config.num_experts_per_tok}",
        f"# board={plan['board']} build={build_id} slots={plan['slots']} policy={plan['policy']}",
        # a decode step for each token of the prompt, so its experts are touched token by token
        f"# prefill=1 prompts={len(prompts)} prompts_sha256={sha256}",
    ]
    dense = [0] * len(config.routed_layers)
    for symbol in build_weights(golden.model).symbols:
        if symbol.name.startswith("layers_"):
            # what a layer without experts reads counts with the next one that has some
            layer = sum(routed < int(symbol.name.split("_")[1]) for routed in config.routed_layers)
            dense[min(layer, len(dense) - 1)] += symbol.size_bytes
    lines += [
        f"# layer={layer} expert_bytes={plan['expert_bytes']} dense_bytes={size}" for layer, size in enumerate(dense)
    ]
    return "\n".join([*lines, ",".join([*COLUMNS, GUESS])]) + "\n"


class TraceFile:
    """A trace that grows by whole prompts: under another name until it is complete.

    What an interrupted run left is kept, except its last prompt, which may be cut.

    Args:
        file: the finished trace.
        head: of `describe_trace`.

    Raises:
        MismatchError: the file, or what was kept, is a trace of something else.
    """

    def __init__(self, file: Path, head: str) -> None:
        self.file, self._head = file, head
        self._partial = file.with_name(file.name + ".partial")
        self.done = 0
        self.finished = file.is_file()
        if self.finished:
            self._check(file)
            return
        rows = self._check(self._partial) if self._partial.is_file() else []
        if rows:
            self.done = int(rows[-1].split(",", 1)[0])
            rows = [row for row in rows if int(row.split(",", 1)[0]) < self.done]
        file.parent.mkdir(parents=True, exist_ok=True)
        self._partial.write_text(head + "".join(rows), encoding="utf-8")

    def append(self, rows: Sequence[str]) -> None:
        """Keep the rows of one prompt; they are on disk when this returns."""
        with self._partial.open("a", encoding="utf-8") as stream:
            stream.write("".join(rows))
            stream.flush()
            os.fsync(stream.fileno())
        self.done += 1

    def finish(self) -> None:
        """Give the trace its name."""
        os.replace(self._partial, self.file)
        self.finished = True

    def _check(self, file: Path) -> list[str]:
        """Whole rows of a file with the same head."""
        text = file.read_text(encoding="utf-8", errors="replace")
        if not text.startswith(self._head):
            raise MismatchError(
                "the file is no trace of this build and these prompts",
                at=str(file),
                try_="--fresh starts over, another -o keeps both",
            )
        return [row for row in text[len(self._head) :].splitlines(keepends=True) if row.endswith("\n")]


def record_trace(
    client: BoardClient,
    golden: Golden,
    prompts: Sequence[str],
    trace: TraceFile,
    *,
    expert_bytes: int,
    on_prompt: Callable[[int], None] = lambda _: None,
) -> None:
    """Run prompts on a board and write down every expert it chose, until all are done.

    The board says which experts it used and which of them it found loaded; the golden, which takes the same tokens,
    adds their order, their gates, and what a prefetch would have guessed. The slots are empty at the start and stay
    warm from prompt to prompt.

    Args:
        client: a board whose build is checked.
        golden: of the same build.
        prompts: requests; each is a turn of the trace, with its greedy answer.
        trace: where rows go; prompts that it holds are skipped.
        expert_bytes: what a miss reads.
        on_prompt: called with the number of prompts that are done.

    Raises:
        MismatchError: board and golden chose different experts.
        DeviceError: the board fails; what was recorded is kept.
    """
    client.reset(empty_slots=True, clear_statistics=True)
    golden.reset(empty_slots=True)
    for turn in range(trace.done, len(prompts)):
        steps = _run_prompt(client, golden, prompts[turn])
        trace.append(
            [row for phase, routes in steps for row in _describe_step(golden, turn, phase, routes, expert_bytes)]
        )
        on_prompt(trace.done)
    trace.finish()


def _run_prompt(client: BoardClient, golden: Golden, prompt: str) -> Iterator[tuple[int, Routes]]:
    """Feed a prompt and its greedy answer to both; yields (phase, what the board used) after every step."""
    generation, context = golden.model.generation, golden.config.max_position_embeddings
    tokens = golden.prompt_tokens(prompt)
    own = len(tokens)
    if own > context:
        raise ToolkitError(
            f"a prompt has {own} tokens, the context is {context} ({own - context} over)",
            at=repr(prompt[:60]),
            try_="a shorter prompt",
        )
    client.reset()
    golden.reset()
    for position in range(min(context, own + generation.max_new_tokens)):
        step = client.step(tokens[position])
        golden.step(tokens[position])
        routes = client.routes()
        if not np.array_equal(routes.experts, golden.routes):
            raise MismatchError(
                f"the board chose other experts than the golden at position {position} of {prompt[:60]!r}",
                at=client.link.port.url,
                try_="mmoe-embed validate BUILD",
            )
        yield (DECODE if position >= own else PREFILL), routes
        if position + 1 == len(tokens):
            if step.argmax == generation.stop_token:
                return
            tokens.append(step.argmax)


def _describe_step(golden: Golden, turn: int, phase: int, routes: Routes, expert_bytes: int) -> list[str]:
    rows = []
    guesses = golden.guess_experts().tolist()
    for layer, gates in enumerate(golden.gates):
        ranks = np.argsort(np.argsort(-gates, kind="stable"), kind="stable").tolist()
        for slot, expert, hit, gate in zip(
            ranks, routes.experts[layer].tolist(), routes.hits[layer].tolist(), gates.tolist(), strict=True
        ):
            read, guess = 0 if hit else expert_bytes, guesses[layer][slot]
            step = golden.position - 1
            rows.append(f"{turn},{phase},{step},{layer},{slot},{expert},{gate:.6g},{hit},{read},{guess}\n")
    return rows
