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


def test_held_out_templates_say_known_word_pairs_in_a_new_order() -> None:
    train, held = generate.split_templates()
    for action, patterns in held.items():
        known = {pair for p in train[action] for t in p for pair in generate.word_pairs(t)}
        assert all(generate.word_pairs(t) <= known for p in patterns for t in p)


def test_no_held_out_request_is_in_the_training_data() -> None:
    held = {e.prompt.lower() for e in generate.make_examples(1000, generate.HELD_OUT_SEED, held_out=True)}
    train = {e.prompt.lower() for e in generate.make_examples(20_000, generate.TRAIN_SEED)}
    assert len(held & train) <= 2


@pytest.mark.parametrize("slot", ["name", "city", "todo", "song", "time", "duration"])
def test_training_never_draws_unseen_values(slot: str) -> None:
    rng = random.Random(1)
    draw = getattr(slots, slot)
    trained = {draw(rng, False).written.lower() for _ in range(3000)}
    held = [draw(rng, True).written.lower() for _ in range(500)]
    assert sum(value not in trained for value in held) > 50


def test_every_action_occurs_and_is_well_formed() -> None:
    lines = [json.loads(line) for line in (WATCH / "heldout.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 1000
    assert all(set(line) == {"prompt", "completion"} for line in lines)
    assert all(re.fullmatch(r"[a-z_]+\([^()]*\)", line["completion"]) for line in lines)
    assert len({line["completion"].split("(")[0] for line in lines}) >= 12


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
    [(6, 10, "ten past six"), (6, 45, "quarter to seven"), (12, 45, "a quarter to one"), (7, 5, "seven oh five")],
)
def test_times_are_said_as_people_say_them(hour: int, minute: int, said: str) -> None:
    rng = random.Random(0)
    assert said in {slots._spoken_clock(rng, hour, minute) for _ in range(200)}


def test_time_is_written_as_it_was_said() -> None:
    rng = random.Random(0)
    drawn = {v.said: v.written for v in (slots.time(rng, False) for _ in range(20_000))}
    expected = {"7pm": "19:00", "noon": "12:00", "half past nine": "09:30"}
    assert {said: drawn[said] for said in expected} == expected


def test_numbers_in_words() -> None:
    assert [slots.say_number(n) for n in (7, 42, 60, 115, 300)] == [
        "seven", "forty two", "sixty", "a hundred and fifteen", "three hundred"]  # fmt: skip
