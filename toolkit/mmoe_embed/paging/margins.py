"""What cache-aware routing costs in perplexity and saves in reads, margin by margin, with the golden's arithmetic."""

import concurrent.futures
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmoe_embed.golden import Golden, exp, sum_lanes
from mmoe_embed.paging.placement import placement_of_plan
from mmoe_embed.paging.slots import Slots
from mmoe_embed.quantized import load_quantized

_LINES_AT_ONCE = 4  # of a data set, in one piece of work
_golden: Golden  # of this process


@dataclasses.dataclass(frozen=True)
class MarginCost:
    """One margin over a data set; every request starts with empty slots.

    Attributes:
        perplexity: exp of the mean negative log probability of a token of the expected answers.
        exact_match: 0..1, of greedy answers.
        hit_rate: 0..1, of the uses of experts in decode steps.
        reads_per_token: of experts, in decode steps.
    """

    margin: float
    perplexity: float
    exact_match: float
    hit_rate: float
    reads_per_token: float


@dataclasses.dataclass(frozen=True)
class _Sums:
    lines: int = 0
    correct: int = 0
    tokens: int = 0
    surprise: float = 0.0  # sum of negative log probabilities
    steps: int = 0
    uses: int = 0
    misses: int = 0

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*map(sum, zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def measure_margins(
    quantized: Path,
    plan: Mapping[str, Any],
    pairs: Sequence[tuple[str, str]],
    margins: Sequence[float],
    *,
    processes: int,
    on_lines: Callable[[int], None] = lambda _: None,
) -> list[MarginCost]:
    """Run a data set with each margin.

    The expected answers are fed, so that a request whose answer is wrong is scored to its end too. A greedy answer is
    right exactly where each of its tokens is the likeliest after those before.

    Args:
        quantized: the model's file.
        plan: plan.json, whose slots and policy are used and whose own margin is not.
        pairs: prompts and completions, each pair within the context.
        margins: of SPEC.md 7.3; 0 is plain routing.
        processes: how many to use.
        on_lines: called with the number of lines done since the last call, over all margins.
    """
    pieces = [pairs[first : first + _LINES_AT_ONCE] for first in range(0, len(pairs), _LINES_AT_ONCE)]
    jobs = list(itertools.product(margins, pieces))
    sums = dict.fromkeys(margins, _Sums())
    with concurrent.futures.ProcessPoolExecutor(processes, initializer=_start, initargs=(quantized,)) as pool:
        for (margin, piece), found in zip(jobs, pool.map(_measure, [(dict(plan), *job) for job in jobs]), strict=True):
            sums[margin] += found
            on_lines(len(piece))
    return [_describe(margin, total) for margin, total in sums.items()]


def choose_margin(costs: Sequence[MarginCost], most_loss: float) -> float:
    """The largest margin whose perplexity exceeds that of margin 0 by at most `most_loss`, a share; 0 where none."""
    plain = next(cost.perplexity for cost in costs if cost.margin == 0)
    return max(cost.margin for cost in costs if cost.perplexity <= plain * (1 + most_loss))


def _describe(margin: float, sums: _Sums) -> MarginCost:
    return MarginCost(
        margin,
        math.exp(sums.surprise / max(1, sums.tokens)),
        sums.correct / max(1, sums.lines),
        1 - sums.misses / max(1, sums.uses),
        sums.misses / max(1, sums.steps),
    )


def _start(quantized: Path) -> None:
    global _golden  # noqa: PLW0603 - one golden a process
    _golden = Golden(load_quantized(quantized))


def _measure(job: tuple[dict[str, Any], float, Sequence[tuple[str, str]]]) -> _Sums:
    plan, margin, pairs = job
    placement = dataclasses.replace(placement_of_plan(plan), cache_margin=margin)
    slots = _golden.slots = Slots(_golden.config, plan["slots"], plan["policy"], placement, plan["chunk"])
    total = _Sums()
    for prompt, completion in pairs:
        total += _score_answer(prompt, completion, slots)
    return total


def _score_answer(prompt: str, completion: str, slots: Slots) -> _Sums:
    target = [*_golden.encode(completion), _golden.model.generation.stop_token]
    _golden.reset(empty_slots=True)
    slots.uses = slots.misses = 0
    logits = _golden.prefill(_golden.prompt_tokens(prompt))
    surprise, right = 0.0, True
    for number, token in enumerate(target):
        if number:
            logits = _golden.step(target[number - 1])
        largest = logits.max()
        surprise += math.log(float(sum_lanes(exp(logits - largest)))) - float(logits[token] - largest)
        right = right and int(np.argmax(logits)) == token
    return _Sums(1, int(right), len(target), surprise, len(target) - 1, slots.uses, slots.misses)
