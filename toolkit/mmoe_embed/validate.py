"""The proof on a board: every logit has the golden's bits, step by step and in chunks; the board keeps to its plan."""

import dataclasses
import math
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmoe_embed.paging.promise import PagingReport, compare_promise
from mmoe_embed.performance import Performance, measure_performance
from mmoe_embed.serial.client import MAX_PREFILL, BoardClient
from mmoe_embed.serial.replies import Event, Identity, KernelTest, LayerStatistics, OpProfile, Statistics, Step

DEFAULT_STEPS = 200
DEFAULT_PROMPTS = 10
_ANSWERS = 3  # whole answers that are compared as well


class Model(Protocol):
    """What the golden must offer; `mmoe_embed.golden.Golden` does."""

    @property
    def routes(self) -> NDArray[np.uint8]:
        """Experts of the last step, (layers, top_k)."""

    @property
    def slots(self) -> object | None:
        """Not None: decode steps look at the expert slots, and a prompt's tokens do not (SPEC.md 7.3)."""

    @property
    def windows(self) -> NDArray[np.float32] | None:
        """Of a classifier: what its tokens stand for, float32 (count, window_size)."""

    def reset(self, *, empty_slots: bool = False) -> None:
        """Start a new sequence."""

    def step(self, token: int) -> NDArray[np.float32]:
        """Take a token, return the logits."""

    def prefill(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Take tokens of a prompt, return the logits after the last."""


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Tokens that are fed first, then greedy tokens up to `steps` in all or the stop token."""

    tokens: tuple[int, ...]
    steps: int
    stop_token: int | None = None
    text: str | None = None
    encoded: tuple[int, ...] = ()  # of `text` alone, without prefix and suffix


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first logit that is not the golden's."""

    step: int  # over all prompts, from 0
    prompt: int
    position: int
    token: int
    index: int
    board: str  # bits in hex
    golden: str
    differing: int  # logits of this step

    def __str__(self) -> str:
        return (
            f"step {self.step} (prompt {self.prompt}, position {self.position}, token {self.token}), "
            f"logit {self.index}: board 0x{self.board}, golden 0x{self.golden}; {self.differing} logits differ there"
        )


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that holds or does not."""

    name: str
    ok: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Steps of board and golden side by side."""

    steps: int
    prompts: int
    equal_logits: int
    equal_routes: int
    equal_argmax: int
    first_difference: Difference | None
    ticks: tuple[int, ...]  # of every step
    golden_crcs: tuple[tuple[int, ...], ...]  # CRC-32 of the golden's logits: every step of every prompt
    in_place_uses: int = 0  # of experts that the plan leaves in flash


@dataclasses.dataclass(frozen=True)
class Report:
    """All of a validation."""

    identity: Identity
    comparison: Comparison
    checks: tuple[Check, ...]
    kernels: tuple[KernelTest, ...]
    statistics: Statistics
    layers: tuple[LayerStatistics, ...]
    profile: tuple[OpProfile, ...]
    performance: Performance
    op_names: tuple[str, ...]
    retries: int
    paging: PagingReport | None
    timeline: tuple[Event, ...] = ()  # of the last steps, where the build records one

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def compute_per_load(self) -> float | None:
        """Time the model computed, stalls aside, for each unit of time that expert reads took; None without reads."""
        compute = sum(op.ticks for op in self.profile) - self.statistics.stall_ticks
        return compute / self.statistics.load_ticks if self.statistics.load_ticks else None

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self) | {
            "ok": self.ok,
            "hidden_share": self.statistics.hidden_share,
            "compute_per_load": self.compute_per_load,
        }


def draw_prompts(
    *, vocab_size: int, context: int, steps: int = DEFAULT_STEPS, seed: int = 0, least: int = DEFAULT_PROMPTS
) -> list[Prompt]:
    """Random prompts of random lengths that make `steps` steps together; the same seed gives the same ones."""
    source = random.Random(seed)
    count = max(least, math.ceil(steps / context))
    prompts = []
    for index in range(count):
        own = steps * (index + 1) // count - steps * index // count
        if own == 0:
            continue
        length = source.randint(1, max(1, own // 2))
        prompts.append(Prompt(tuple(source.randrange(vocab_size) for _ in range(length)), own))
    return prompts


def compare_steps(
    client: BoardClient,
    golden: Model,
    prompts: Sequence[Prompt],
    on_step: Callable[[], None] = lambda: None,
    in_place: NDArray[np.bool_] | None = None,
) -> Comparison:
    """Feed the same tokens to the board and to the golden, compare every logit and every route.

    Args:
        in_place: bool (layers, experts), those that the board computes where they lie; None: none.
    """
    steps = equal_logits = equal_routes = equal_argmax = in_place_uses = 0
    first: Difference | None = None
    ticks = []
    crcs: list[tuple[int, ...]] = []
    for index, prompt in enumerate(prompts):
        client.reset()
        golden.reset()
        own: list[int] = []
        for token, step, logits, expected in _run_prompt(client, golden, prompt):
            differing = np.flatnonzero(logits.view(np.uint32) != expected.view(np.uint32))
            if differing.size and first is None:
                at = int(differing[0])
                has, wanted = (f"{int(v.view(np.uint32)[at]):08x}" for v in (logits, expected))
                first = Difference(steps, index, step.position, token, at, has, wanted, int(differing.size))
            equal_logits += differing.size == 0
            equal_argmax += step.argmax == int(np.argmax(expected))
            equal_routes += np.array_equal(client.routes().experts, golden.routes)
            if in_place is not None:
                in_place_uses += int(np.take_along_axis(in_place, golden.routes.astype(np.int64), 1).sum())
            ticks.append(step.ticks)
            own.append(zlib.crc32(expected.tobytes()))
            steps += 1
            on_step()
        crcs.append(tuple(own))
    return Comparison(
        steps,
        len(prompts),
        equal_logits,
        equal_routes,
        equal_argmax,
        first,
        tuple(ticks),
        tuple(crcs),
        in_place_uses,
    )


def prefill_matches(
    client: BoardClient, tokens: Sequence[int], golden_crcs: Sequence[int], piece: int = MAX_PREFILL
) -> bool:
    """Feed tokens to an empty context in pieces; whether the logits after each piece are the golden's."""
    client.reset()
    for first in range(0, len(tokens), piece):
        part = tokens[first : first + piece]
        if client.prefill(part).logits_crc != golden_crcs[first + len(part) - 1]:
            return False
    return True


def _run_prompt(
    client: BoardClient, golden: Model, prompt: Prompt
) -> Iterator[tuple[int, Step, NDArray[np.float32], NDArray[np.float32]]]:
    greedy = 0
    for count in range(max(prompt.steps, len(prompt.tokens))):
        forced = count < len(prompt.tokens)
        token = prompt.tokens[count] if forced else greedy
        if not forced and token == prompt.stop_token:
            return
        step = client.step(token)
        logits = client.checked_logits(step)
        expected = np.ascontiguousarray(golden.step(token), dtype=np.float32)
        greedy = int(np.argmax(expected))
        yield token, step, logits, expected


def validate_board(
    client: BoardClient,
    golden: Model,
    prompts: Sequence[Prompt],
    *,
    plan: Mapping[str, Any],
    op_names: Sequence[str] = (),
    answer: Callable[[str], Iterable[int]] | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Report:
    """Run the whole validation on a board whose build is already checked.

    Args:
        client: an identified board.
        golden: what it must compute.
        prompts: what to feed; a prompt with a text also checks the board's tokenizer.
        plan: plan.json, for the watermarks.
        op_names: names of the profile's operations.
        answer: the golden's tokens for a request, to compare a few whole answers.
        on_step: called after every step.

    Raises:
        DeviceError: the board fails, is reset, or does not answer; a difference is not an error but a failed check.
    """
    client.windows = golden.windows
    identity = client.identify()
    kernels = client.test_kernels()
    client.reset(empty_slots=True, clear_statistics=True)
    golden.reset(empty_slots=True)
    comparison = compare_steps(client, golden, prompts, on_step, _find_in_place(plan, identity))
    statistics, layers, profile = client.statistics(), client.layers(), client.profile()
    texts = [prompt for prompt in prompts if prompt.text is not None]
    prefill_check = _check_prefill(client, golden, prompts, comparison)
    text_checks = [*_check_tokenizer(client, texts), *_check_answers(client, texts[:_ANSWERS], answer)]
    performance = measure_performance(client, vocab_size=identity.vocab_size, context=identity.context)
    timeline = client.timeline() if plan.get("timeline_events") else []
    client.identify()  # a reset in between is noticed here at the latest
    checks = (
        _check_kernels(kernels),
        *_check_comparison(comparison),
        prefill_check,
        *text_checks,
        *_check_statistics(statistics, comparison.steps),
        *_check_watermarks(statistics, plan),
    )
    return Report(
        identity=identity,
        comparison=comparison,
        checks=checks,
        kernels=tuple(kernels),
        statistics=statistics,
        layers=tuple(layers),
        profile=tuple(profile),
        performance=performance,
        op_names=tuple(op_names),
        retries=client.link.retries,
        paging=compare_promise(plan, statistics, comparison.in_place_uses, identity.tick_hz),
        timeline=tuple(timeline),
    )


def _check_kernels(kernels: Sequence[KernelTest]) -> Check:
    wrong = [f"{test.name} gave {test.crc:08x}, must give {test.expected:08x}" for test in kernels if not test.ok]
    detail = f"{len(kernels) - len(wrong)} of {len(kernels)}" + (f"; {', '.join(wrong)}" if wrong else "")
    return Check("kernels", not wrong, detail)


def _find_in_place(plan: Mapping[str, Any], identity: Identity) -> NDArray[np.bool_] | None:
    numbers = plan.get("paging", {}).get("in_place", ())
    if not numbers:
        return None
    found = np.zeros(identity.layers * identity.experts, np.bool_)
    found[list(numbers)] = True
    return found.reshape(identity.layers, identity.experts)


def _check_comparison(comparison: Comparison) -> Iterator[Check]:
    total = comparison.steps
    for name, equal in (
        ("logits", comparison.equal_logits),
        ("routes", comparison.equal_routes),
        ("argmax", comparison.equal_argmax),
    ):
        detail = f"{equal} of {total} steps"
        if name == "logits" and comparison.first_difference:
            detail += f"; first difference: {comparison.first_difference}"
        yield Check(name, equal == total and total > 0, detail)


def _check_prefill(client: BoardClient, golden: Model, prompts: Sequence[Prompt], comparison: Comparison) -> Check:
    wrong = []
    for index, (prompt, crcs) in enumerate(zip(prompts, comparison.golden_crcs, strict=True)):
        expected = crcs if golden.slots is None else _prefill_golden(golden, prompt.tokens)
        if not prefill_matches(client, prompt.tokens, expected):
            wrong.append(index)
    detail = f"{len(prompts) - len(wrong)} of {len(prompts)} prompts" + (f"; first: {wrong[0]}" if wrong else "")
    return Check("prefill", not wrong, detail)


def _prefill_golden(golden: Model, tokens: Sequence[int]) -> list[int]:
    """As `Comparison.golden_crcs`, but 0 where a prefill leaves no logits."""
    golden.reset()
    crcs = [0] * len(tokens)
    for first in range(0, len(tokens), MAX_PREFILL):
        part = tokens[first : first + MAX_PREFILL]
        crcs[first + len(part) - 1] = zlib.crc32(golden.prefill(part).tobytes())
    return crcs


def _check_tokenizer(client: BoardClient, texts: Sequence[Prompt]) -> Iterator[Check]:
    wrong = [prompt.text for prompt in texts if client.encode(prompt.text or "") != list(prompt.encoded)]
    if texts:
        detail = f"{len(texts) - len(wrong)} of {len(texts)} texts" + (f"; first: {wrong[0]!r}" if wrong else "")
        yield Check("tokenizer", not wrong, detail)


def _check_answers(
    client: BoardClient, texts: Sequence[Prompt], answer: Callable[[str], Iterable[int]] | None
) -> Iterator[Check]:
    if answer is None or not texts:
        return
    wrong = []
    for prompt in texts:
        text = prompt.text or ""
        if [token.token for token in client.stream(text)] != list(answer(text)):
            wrong.append(text)
    detail = f"{len(texts) - len(wrong)} of {len(texts)}" + (f"; first: {wrong[0]!r}" if wrong else "")
    yield Check("answers", not wrong, detail)


def _check_statistics(statistics: Statistics, steps: int) -> Iterator[Check]:
    yield Check("steps counted", statistics.steps == steps, f"board {statistics.steps}, host {steps}")
    yield Check("expert loads", statistics.load_errors == 0, f"{statistics.load_errors} errors")


def _check_watermarks(statistics: Statistics, plan: Mapping[str, Any]) -> Iterator[Check]:
    planned = {"arena": plan.get("arena_bytes"), "stack": plan.get("stack_bytes")}
    for name, reserved, used in (
        ("arena", statistics.arena_bytes, statistics.arena_used),
        ("stack", statistics.stack_bytes, statistics.stack_used),
    ):
        if not reserved:  # a program's stack is the system's
            continue
        limit = min(reserved, planned[name] or reserved)
        yield Check(f"{name} watermark", used <= limit, f"{used} of {limit} B")
    arena = planned["arena"]
    if arena is not None:
        has = statistics.arena_bytes
        yield Check("arena as planned", has == arena, f"board {has} B, plan {arena} B")
