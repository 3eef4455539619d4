"""Text as training data: read, split, packed, and seen document by document."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

import torch
from random_model import small_config

from mmoe_embed.config import GenerationConfig
from mmoe_embed.errors import ToolkitError
from mmoe_embed.model import MoeModel
from mmoe_embed.train.corpus import cut_batch, cut_held_out, draw_packed, read_corpus
from mmoe_embed.train.documents import read_documents
from mmoe_embed.train.loop import train_recipe
from mmoe_embed.train.recipe import SourceSettings, load_recipe
from mmoe_embed.train.tokenizer import train_tokenizer

pytestmark = pytest.mark.torch
FRAME = GenerationConfig(prefix_tokens=[0], suffix_tokens=[1], stop_token=2, max_new_tokens=8)
STAGES = """
[[stage]]
name = "pre-train"
tokens = 1500
batch = 4
context = 32
learning_rate = 1e-2
mix = { words = 3.0, requests = 1.0 }
capacity = 1.25
evaluate_every = 5
[[stage]]
name = "mid-train"
steps = 3
batch = 4
learning_rate = 1e-3
schedule = "linear"
mix = { words = 1.0 }
[[stage]]
name = "quantization-aware"
scheme = "int4"
steps = 3
batch = 4
learning_rate = 1e-3
mix = { words = 1.0, requests = 1.0 }
"""
SOURCES = """
[[source]]
name = "words"
path = ["text/*.txt"]
held_out = 0.2
[[source]]
name = "requests"
path = ["train.jsonl"]
held_out = 0.2
"""


@pytest.fixture
def text_recipe(recipe: Path) -> Path:
    """Four kinds of stage over text files and requests."""
    folder = recipe.parent / "text"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        words = " ".join(rng.choice(["one", "two", "three", "four", "five"], 40))
        (folder / f"{number:02}.txt").write_text(words, "utf-8")
    text = recipe.read_text("utf-8")
    text = text[: text.index("[[stage]]")]
    text = re.sub(r"\[data\].*?(?=\[tokenizer\])", SOURCES, text, flags=re.S)
    recipe.write_text(text + STAGES, "utf-8")
    return recipe


def test_stages_train_on_mixed_text(text_recipe: Path, tmp_path: Path) -> None:
    result = train_recipe(text_recipe, tmp_path / "a")
    assert result.held_out.keys() == {"pre-train", "mid-train", "quantization-aware"}
    assert result.held_out["pre-train"].keys() == {"words", "requests"}
    assert result.held_out["quantization-aware"]["words"].loss < 4.0  # from log(280) = 5.6
    rows = (tmp_path / "a" / "metrics.csv").read_text("utf-8").splitlines()
    steps = [row.split(",")[1] for row in rows if row.startswith("pre-train") and ",words," in row]
    assert steps == ["5", "10", "12"]
    assert "<polyline" in (tmp_path / "a" / "loss.svg").read_text("utf-8")


def test_held_out_documents_are_never_trained_on(tmp_path: Path) -> None:
    texts = [f"document number {n} of many" for n in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts * 2), "utf-8")
    tokenizer = train_tokenizer(texts, 300)
    source = SourceSettings(name="a", path=["a.jsonl"], held_out=0.3)
    corpus = read_corpus(source, tmp_path, tokenizer, FRAME, tmp_path / "out")
    parts = []
    for stream in (corpus.train, corpus.held_out):
        cut = np.split(stream.tokens, np.flatnonzero(stream.tokens == 2) + 1)[:-1]
        parts.append({tokenizer.decode(document.tolist()) for document in cut})
    assert parts[0] | parts[1] == set(texts)
    assert not parts[0] & parts[1]
    assert 60 < len(parts[1]) < 120


def test_encoded_source_is_found_again_and_made_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("some words " * 20, "utf-8")
    tokenizer = train_tokenizer(["some words"], 270)
    source = SourceSettings(name="a", path=["a.txt"], held_out=0.0)
    read_corpus(source, tmp_path, tokenizer, FRAME, tmp_path / "out")
    made = (tmp_path / "out" / "a.train.tokens").stat().st_mtime_ns
    read_corpus(source, tmp_path, tokenizer, FRAME, tmp_path / "out")
    assert (tmp_path / "out" / "a.train.tokens").stat().st_mtime_ns == made
    file.write_text("other words " * 30, "utf-8")
    corpus = read_corpus(source, tmp_path, tokenizer, FRAME, tmp_path / "out")
    assert tokenizer.decode(corpus.train.tokens.tolist()) == "other words " * 30


def test_a_request_is_learned_in_its_answer_only(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "say red", "completion": "red"}), "utf-8")
    tokenizer = train_tokenizer(["say red"], 270)
    corpus = read_corpus(SourceSettings(name="a", path=["a.jsonl"], held_out=0.0), tmp_path, tokenizer, FRAME, tmp_path)
    batch = cut_batch([corpus.train], np.array([0]), len(corpus.train) - 1, 2)
    answer = [*tokenizer.encode("red").ids, 2]
    assert batch.targets[batch.answer].tolist() == answer


def test_no_token_sees_another_document() -> None:
    torch.manual_seed(0)
    model = MoeModel(small_config(max_position_embeddings=32))
    tokens = torch.randint(3, 64, (1, 20))
    documents = torch.tensor([[0] * 8 + [1] * 12])
    whole, _ = model(tokens, documents=documents)
    tokens[0, :8] = torch.randint(3, 64, (8,))
    other, _ = model(tokens, documents=documents)
    torch.testing.assert_close(whole[0, 8:], other[0, 8:], rtol=0, atol=0)
    assert not torch.equal(whole[0, :8], other[0, :8])


def test_draw_packed_is_a_function_of_seed_and_step(text_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(text_recipe)
    tokenizer = train_tokenizer(["one two three four five"], 280)
    corpora = {s.name: read_corpus(s, tmp_path, tokenizer, FRAME, tmp_path / "d") for s in recipe.source}
    arguments = (corpora, {"words": 9.0, "requests": 1.0}, 50, 16, (1, 0))
    first = draw_packed(*arguments, 0, 2)
    next(first)
    torch.testing.assert_close(next(first).tokens, next(draw_packed(*arguments, 1, 2)).tokens)
    held = list(cut_held_out(corpora["words"].held_out, 16, 1000, 8, 2))
    assert sum(len(b.tokens) for b in held) == (len(corpora["words"].held_out) - 1) // 16


def test_capacity_drops_what_is_over_it() -> None:
    torch.manual_seed(0)
    model = MoeModel(small_config(max_position_embeddings=32))
    tokens = torch.full((2, 16), 7)  # all alike: every one goes to the same experts
    free, _ = model(tokens)
    roomy, _ = model(tokens, capacity=100.0)
    tight, _ = model(tokens, capacity=1.0)
    torch.testing.assert_close(free, roomy)
    assert not torch.equal(free, tight)
    tight.sum().backward()


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_dataset_directory_is_read(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow (the datasets extra)")
    table = pyarrow.table({"body": ["first text", "second text"], "label": [1, 2]})
    file = tmp_path / "set" / f"data-00000{suffix}"
    file.parent.mkdir()
    if suffix == ".arrow":
        with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        import pyarrow.parquet  # noqa: PLC0415

        pyarrow.parquet.write_table(table, file)
    source = SourceSettings(name="a", path=["set"], field="body")
    assert [d.text for d in read_documents(source, file)] == ["first text", "second text"]
    with pytest.raises(ToolkitError, match="no text in 'text'") as caught:
        list(read_documents(SourceSettings(name="a", path=["set"]), file))
    assert "body, label" in str(caught.value)
    file.write_bytes(b"nonsense")
    with pytest.raises(ToolkitError, match="not a readable"):
        list(read_documents(source, file))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mix = { words = 3.0, requests = 1.0 }", "mix = { books = 1.0 }", "no source is named books"),
        ("mix = { words = 3.0, requests = 1.0 }\n", "", "nothing to train on"),
        ("tokens = 1500", "tokens = 1500\nsteps = 4", "either steps or tokens"),
        ("context = 32", "context = 4096", "context is 4096"),
        ('path = ["text/*.txt"]', 'path = ["nowhere/*.txt"]', "finds no file"),
        ('name = "requests"', 'name = "words"', "two sources"),
    ],
)
def test_text_recipe_names_what_is_wrong(text_recipe: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = text_recipe.read_text("utf-8")
    assert old in text
    text_recipe.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ToolkitError, match=message):
        train_recipe(text_recipe, tmp_path / "a")
