"""The watch example's data: the same every time, and held out in truth."""

import json
import random
import re
import sys
from pathlib import Path

import pytest

WATCH = Path(__file__).resolve().parents[2] / "examples" / "watch"
sys.path.insert(0, str(WATCH))

import generate
import slots


def _flat(templates: generate.Templates) -> set[str]:
    return {t for patterns in templates.values() for p in patterns for t in p}


def test_committed_files_are_what_the_generator_writes() -> None:
    held = [e.to_json() for e in generate.make_examples(generate.HELD_OUT_LINES, generate.HELD_OUT_SEED, held_out=True)]
    assert (WATCH / "heldout.jsonl").read_text("utf-8").splitlines() == held
    sample = [e.to_json() for e in generate.make_examples(generate.SAMPLE_LINES, generate.TRAIN_SEED)]
    assert (WATCH / "train_sample.jsonl").read_text("utf-8").splitlines() == sample


def test_no_template_is_in_both_splits() -> None:
    train, held = (_flat(t) for t in generate.split_templates())
    assert not train & held
    assert len(held) > 300
    assert all(e.template in held for e in generate.make_examples(500, 9, held_out=True))
    assert all(e.template in train for e in generate.make_examples(500, 9))


def test_every_word_of_a_held_out_template_is_trained_for_the_same_action() -> None:
    train, held = generate.split_templates()
    for action, patterns in held.items():
        known = {word for p in train[action] for t in p for word in t.split()}
        assert all(set(t.split()) <= known for p in patterns for t in p)


def test_no_held_out_request_is_in_the_training_data() -> None:
    held = {e.prompt.lower() for e in generate.make_examples(1000, generate.HELD_OUT_SEED, held_out=True)}
    train = {e.prompt.lower() for e in generate.make_examples(30_000, generate.TRAIN_SEED)}
    assert len(held & train) <= 2


@pytest.mark.parametrize("slot", ["name", "city", "todo", "song", "time", "duration"])
def test_training_never_draws_unseen_values(slot: str) -> None:
    rng = random.Random(1)
    draw = getattr(slots, slot)
    trained = {draw(rng, False).written.lower() for _ in range(5000)}
    held = [draw(rng, True).written.lower() for _ in range(500)]
    assert sum(value not in trained for value in held) > 50


def test_every_action_occurs_and_is_well_formed() -> None:
    lines = [json.loads(line) for line in (WATCH / "heldout.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 1000
    assert all(set(line) == {"prompt", "completion"} for line in lines)
    assert all(re.fullmatch(r"[a-z_]+\([^()]*\)", line["completion"]) for line in lines)
    assert len({line["completion"].split("(")[0] for line in lines}) >= 12


@pytest.mark.parametrize(
    ("hour", "minute", "said", "written"),
    [(6, 10, "ten past six", "06:10"), (18, 45, "quarter to seven pm", "18:45"), (0, 45, "quarter to one am", "00:45")],
)
def test_times_are_said_as_people_say_them(hour: int, minute: int, said: str, written: str) -> None:
    rng = random.Random(0)
    drawn = {(v.said, v.written) for v in (slots.time(rng, True) for _ in range(200_000)) if v.written == written}
    assert (said, written) in drawn
    assert f"{hour:02}:{minute:02}" == written


def test_numbers_in_words() -> None:
    assert [slots.say_number(n) for n in (7, 42, 60, 115, 300)] == [
        "seven", "forty two", "sixty", "a hundred and fifteen", "three hundred"]  # fmt: skip
