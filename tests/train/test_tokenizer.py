"""The tokenizer that training learns: of the kind the board runs, words cut alike after a space and a bracket."""

from mmoe_embed.tokens import build_tables
from mmoe_embed.train.tokenizer import SPECIAL_TOKENS, train_tokenizer

TEXTS = [f"call {name} at {n} please" for n, name in enumerate(["anna", "hanna", "joanna", "susanna", "dana"] * 8)] * 3


def test_train_tokenizer_round_trips_any_text() -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    for text in ("call anna at 12:30", "  two  spaces ", "Zoë – 10 €, 東京", ""):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text
    assert [tokenizer.token_to_id(t) for t in SPECIAL_TOKENS] == [0, 1, 2]


def test_train_tokenizer_is_one_the_board_can_run() -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    tables = build_tables(tokenizer.to_str(), 300)
    assert len(tables.merges) == tokenizer.get_vocab_size() - 259


def test_train_tokenizer_cuts_words_alike_after_a_space() -> None:
    tokenizer = train_tokenizer(TEXTS, 290)
    for word in ("anna", "hanna", "susanna", "banana", "call"):
        spaced = tokenizer.encode(" " + word, add_special_tokens=False).tokens
        bare = tokenizer.encode(word, add_special_tokens=False).tokens
        assert "".join(spaced)[1:] == word
        assert [t.removeprefix("Ġ") for t in spaced if t != "Ġ"] == bare


def test_train_tokenizer_never_merges_digits() -> None:
    tokenizer = train_tokenizer([f"{n}:{n}" for n in range(1000)], 300)
    assert tokenizer.encode("12:34", add_special_tokens=False).tokens == list("12:34")
