"""What routing that is local in time costs and buys: models side by side, with the boards' integer arithmetic.

    python examples/watch/locality.py build/watch-more build/watch-local

Exact match and perplexity of the expected answers on the held-out requests, how many experts eight tokens in a row
need, and how often decode finds an expert in a slot, for several numbers of slots and the default policy: prompts in
chunks of 8, then the expected answer, request after request with warm slots. Takes minutes.
"""

import argparse
import concurrent.futures
import dataclasses
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.golden import Golden, exp, sum_lanes
from mmoe_embed.paging.placement import Placement
from mmoe_embed.paging.replay import RUNTIME_POLICIES
from mmoe_embed.paging.slots import Slots
from mmoe_embed.prompt import load_pairs
from mmoe_embed.quantize import quantize_checkpoint

HERE = Path(__file__).resolve().parent
CHUNK = BLOCK = 8
_golden: Golden  # of this process


@dataclasses.dataclass(frozen=True)
class Answer:
    """One request; routes are uint8 (tokens, layers, top_k)."""

    correct: bool
    tokens: int
    surprise: float  # sum of negative log probabilities
    prompt_routes: NDArray[np.uint8]
    answer_routes: NDArray[np.uint8]


def _start(folder: Path, scheme: str) -> None:
    global _golden  # noqa: PLW0603 - one golden a process
    _golden = Golden(quantize_checkpoint(load_checkpoint(folder), scheme))


def _answer(pair: tuple[str, str]) -> Answer:
    prompt, completion = pair
    asked, target = _golden.prompt_tokens(prompt), [*_golden.encode(completion), _golden.model.generation.stop_token]
    _golden.reset()
    routes, surprise, correct = [], 0.0, True
    for number, token in enumerate([*asked, *target[:-1]]):
        logits = _golden.step(token)
        routes.append(_golden.routes.copy())
        if number >= len(asked) - 1:
            wanted = target[number - len(asked) + 1]
            largest = logits.max()
            surprise += math.log(float(sum_lanes(exp(logits - largest)))) - float(logits[wanted] - largest)
            correct = correct and int(np.argmax(logits)) == wanted
    return Answer(correct, len(target), surprise, np.array(routes[: len(asked)]), np.array(routes[len(asked) :]))


def hit_rate(answers: list[Answer], slots: Slots) -> float:
    """Of the uses of experts in decode."""
    for answer in answers:
        for first in range(0, len(answer.prompt_routes), CHUNK):
            slots.use_chunk(list(answer.prompt_routes[first : first + CHUNK]))
        for token in answer.answer_routes:
            slots.begin_pass()
            for layer, chosen in enumerate(token.tolist()):
                slots.use_chosen(layer, chosen)
    return 1 - slots.misses / slots.uses


def experts_of_a_block(answers: list[Answer]) -> float:
    """Distinct experts that `BLOCK` tokens in a row need in a layer, in the mean."""
    counts = []
    for answer in answers:
        routes = np.concatenate(
            [answer.prompt_routes, answer.answer_routes.reshape(-1, *answer.prompt_routes.shape[1:])]
        )
        for first in range(0, len(routes) - BLOCK + 1, BLOCK):
            block = routes[first : first + BLOCK]
            counts += [len(np.unique(block[:, layer])) for layer in range(block.shape[1])]
    return float(np.mean(counts))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="checkpoint folders, or training runs that hold one")
    parser.add_argument("--slots", nargs="+", type=int, default=[12, 20, 32])
    parser.add_argument("--scheme", default="int4")
    parser.add_argument("--limit", type=int, help="only the first so many requests")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    pairs = load_pairs(HERE / "heldout.jsonl")[: options.limit]
    counts = " | ".join(f"hits, {slots} slots" for slots in options.slots)
    print(f"| model | exact match | perplexity | experts of {BLOCK} tokens | {counts} |")
    print("|---" * (4 + len(options.slots)) + "|")
    for folder in options.checkpoints:
        config = load_checkpoint(folder).config
        with (
            Progress(console=Console(stderr=True), transient=True) as progress,
            concurrent.futures.ProcessPoolExecutor(
                options.processes, initializer=_start, initargs=(folder, options.scheme)
            ) as pool,
        ):
            answers = list(progress.track(pool.map(_answer, pairs, chunksize=4), len(pairs), description=str(folder)))
        policy = next(iter(RUNTIME_POLICIES))
        hits = [hit_rate(answers, Slots(config, slots, policy, Placement(), CHUNK)) for slots in options.slots]
        perplexity = math.exp(sum(a.surprise for a in answers) / sum(a.tokens for a in answers))
        exact = sum(a.correct for a in answers) / len(answers)
        cells = [str(folder), f"{100 * exact:.1f} %", f"{perplexity:.4f}", f"{experts_of_a_block(answers):.1f}"]
        print("| " + " | ".join([*cells, *(f"{100 * rate:.1f} %" for rate in hits)]) + " |", flush=True)


if __name__ == "__main__":
    main()
