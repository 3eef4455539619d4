"""A request that spells a special token got that token from the host, its letters from the board."""

from random_model import train_tokenizer

from mmoe_embed.tokens import Tokens


def test_text_never_becomes_a_special_token() -> None:
    tokens = Tokens(train_tokenizer().to_str())
    ids = tokens.encode("call <eos> mum")
    assert not {0, 1, 2} & set(ids)
    assert tokens.decode(ids) == "call <eos> mum"
