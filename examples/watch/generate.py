"""Write the watch example's data: requests typed or spoken to a watch, and the action calls they mean.

    python examples/watch/generate.py            # the training data, into examples/watch/data/
    python examples/watch/generate.py --held-out # heldout.jsonl and train_sample.jsonl again, byte for byte

A template is a pattern with one choice made in each of its alternatives. About one template in six is held out: it
never occurs in training, though each two neighbouring words of it do in other templates of the same action, so that it
says in a new order what was said before. About half of the slot values of the held-out set are values that training
never draws.
"""

import argparse
import dataclasses
import functools
import hashlib
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import slots
from phrases import (
    AFTER,
    BEFORE_COMMAND,
    BEFORE_SENTENCE,
    COMMAND_VERBS,
    FREE_SLOTS,
    PHRASES,
    QUESTION_WORDS,
    Phrase,
    expand,
)

HERE = Path(__file__).resolve().parent
TRAIN_LINES, HELD_OUT_LINES, SAMPLE_LINES = 300_000, 1000, 200
TRAIN_SEED, HELD_OUT_SEED = 1, 2
SLIPS_TRAIN, SLIPS_HELD_OUT = 0.2, 0.1  # share of requests with a typing slip
_SLOT = re.compile(r"<(\w+)>")
_NEAR = dict(zip("abcdefghijklmnopqrstuvwxyz", "svxsrghjoklknmpowtdribecux", strict=True))


@dataclasses.dataclass(frozen=True)
class Example:
    """A request, what it means, and the template it was made from."""

    prompt: str
    completion: str
    template: str

    def to_json(self) -> str:
        """One line of JSONL."""
        return json.dumps({"prompt": self.prompt, "completion": self.completion}, ensure_ascii=False)


def word_pairs(template: str) -> set[tuple[str, str]]:
    """Every two neighbours of a template, its ends included."""
    words = ["^", *template.split(), "$"]
    return set(itertools.pairwise(words))


Templates = dict[str, tuple[tuple[str, ...], ...]]  # action: for each of its patterns, templates


@functools.cache
def split_templates() -> tuple[Templates, Templates]:
    """(training, held out): for each action, the templates of each of its patterns; a pattern's list may be empty.

    Decided by the templates' own hashes. A template is held out only while every two neighbouring words of it are
    neighbours in a training template of the same action, its first and its last word included.
    """
    train: Templates = {}
    held: Templates = {}
    taken: set[str] = set()
    for phrase in PHRASES:
        patterns = []
        for pattern in phrase.patterns:
            fresh = [t for t in expand(pattern) if t not in taken]
            taken.update(fresh)
            patterns.append(fresh)
        ranked = sorted((t for p in patterns for t in p), key=lambda t: hashlib.sha256(t.encode()).digest())
        uses: dict[tuple[str, str], int] = {}
        for template in ranked:
            for pair in word_pairs(template):
                uses[pair] = uses.get(pair, 0) + 1
        out: set[str] = set()
        for template in ranked:
            if len(out) * 7 >= len(ranked):
                break
            if all(uses[pair] > 1 for pair in word_pairs(template)):
                out.add(template)
                for pair in word_pairs(template):
                    uses[pair] -= 1
        train[phrase.action] = tuple(tuple(t for t in p if t not in out) for p in patterns)
        held[phrase.action] = tuple(tuple(t for t in p if t in out) for p in patterns)
    return train, held


def _slip(rng: random.Random, word: str) -> str:
    """One typing slip: two letters swapped, one lost, doubled, or the key beside it."""
    i = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind == 1:
        return word[:i] + word[i + 1 :]
    if kind == 2:
        return word[:i] + word[i] + word[i:]
    return word[:i] + _NEAR.get(word[i], word[i]) + word[i + 1 :]


def _fill(rng: random.Random, action: str, template: str, held_out: bool) -> tuple[str, str]:
    said: dict[str, str] = {}
    written: dict[str, str] = {}
    for slot in dict.fromkeys(_SLOT.findall(template + action)):
        if slot == "unit":
            (first, second) = slots.units(rng, held_out)
            said |= {"unit": first.said, "unit2": second.said}
            written |= {"unit": first.written, "unit2": second.written}
        elif slot not in said and slot != "unit2":
            value: slots.Value = getattr(slots, slot)(rng, held_out)
            said[slot], written[slot] = value.said, value.written
    words = template.split()
    slippable = [i for i, w in enumerate(words) if len(w) >= 4 and w.isalpha()]
    if slippable and rng.random() < (SLIPS_HELD_OUT if held_out else SLIPS_TRAIN):
        i = rng.choice(slippable)
        words[i] = _slip(rng, words[i])
    request = _SLOT.sub(lambda m: said[m[1]], " ".join(words))
    return request, _SLOT.sub(lambda m: written[m[1]], action)


@functools.cache
def _choices(held_out: bool) -> tuple[tuple[float, ...], Templates]:
    """(weight of each phrase, its patterns that are not empty)."""
    by_action = split_templates()[held_out]
    filled = {action: tuple(p for p in patterns if p) for action, patterns in by_action.items()}
    return tuple(p.weight if filled[p.action] else 0 for p in PHRASES), filled


def make_example(rng: random.Random, held_out: bool) -> Example:
    """Draw one example of the training or of the held-out split."""
    weights, by_action = _choices(held_out)
    phrase: Phrase = rng.choices(PHRASES, weights=weights)[0]
    template = rng.choice(rng.choice(by_action[phrase.action]))
    request, action = _fill(rng, phrase.action, template, held_out)
    first = template.split()[0]
    before = rng.choice(BEFORE_COMMAND if first in COMMAND_VERBS and " " in template else BEFORE_SENTENCE)
    request = before + request
    if not template.endswith(FREE_SLOTS):
        request += rng.choice(AFTER)
        if rng.random() < 0.12:
            asked = first in QUESTION_WORDS or before.startswith(("can", "could", "would"))
            request += "?" if asked else rng.choice(".!.")
    if rng.random() < 0.25 and (before or not first.startswith("<")):
        request = request[0].upper() + request[1:]
    return Example(request, action, template)


def make_examples(count: int, seed: int, held_out: bool = False) -> Iterator[Example]:
    """Draw examples; the same count and seed give the same ones."""
    rng = random.Random(seed)
    for _ in range(count):
        yield make_example(rng, held_out)


def write_examples(file: Path, examples: Iterator[Example]) -> None:
    """Write JSONL, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    with part.open("w", encoding="utf-8", newline="\n") as stream:
        for example in examples:
            stream.write(example.to_json() + "\n")
    part.replace(file)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--held-out", action="store_true", help="write the committed files instead of the training data"
    )
    parser.add_argument("--lines", type=int, default=TRAIN_LINES, help="lines of training data (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=HERE, help="folder to write into (default: this example)")
    options = parser.parse_args()
    if options.held_out:
        write_examples(options.to / "heldout.jsonl", make_examples(HELD_OUT_LINES, HELD_OUT_SEED, held_out=True))
        write_examples(options.to / "train_sample.jsonl", make_examples(SAMPLE_LINES, TRAIN_SEED))
    else:
        write_examples(options.to / "data" / "train.jsonl", make_examples(options.lines, TRAIN_SEED))
        print(f"{options.lines} examples in {options.to / 'data' / 'train.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    main()
