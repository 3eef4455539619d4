"""Learning a tokenizer that the board can run (SPEC.md 4).

For requests, merges are learned on letters alone, then each frequent token gets a twin with a space before it, at a
lower rank. So a word is cut at the same places after a space in a request and after a bracket in an action call, which
makes copying it easy to learn. Digits and punctuation are never merged.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import PreTokenizer

SPECIAL_TOKENS = ("<bos>", "<sep>", "<eos>")
_SPACE = "Ġ"  # how the byte-level alphabet writes 0x20
_LETTER_SHARE = 0.55  # of the merges; the others are twins


def board_pre_tokenizer() -> PreTokenizer:
    """The pre-tokenizer of SPEC.md 4."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", behavior="merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train_tokenizer(texts: Sequence[str], vocab_size: int, letters_only: bool = True) -> Tokenizer:
    """Learn a byte-level BPE of exactly `vocab_size` entries, special tokens first.

    Args:
        texts: what it should be good at.
        vocab_size: at least 260; merges that the texts do not fill are left out.
        letters_only: digits and punctuation stay single bytes, and words are cut alike with and without a space.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges_wanted = vocab_size - len(alphabet) - len(SPECIAL_TOKENS)
    if not letters_only:
        learner = Tokenizer(models.BPE())
        learner.pre_tokenizer = board_pre_tokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=len(alphabet) + merges_wanted, initial_alphabet=alphabet, show_progress=False
        )
        learner.train_from_iterator(texts, trainer)
        return _assemble(alphabet, _read_merges(learner))
    letters_wanted = int(merges_wanted * _LETTER_SHARE)
    learner = Tokenizer(models.BPE())
    # Pieces of letters only; everything else is one character a piece, which cannot be merged.
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[A-Za-z]+|[^A-Za-z]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + letters_wanted, initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    merges = _read_merges(learner)

    starts: Counter[str] = Counter()
    for word, count in Counter(w for text in texts for w in re.findall(r"(?<= )[^ ]+", text)).items():
        first = learner.encode(word).tokens[:1]
        starts.update({first[0]: count} if first else {})
    ranked = sorted(starts.items(), key=lambda item: (-item[1], item[0]))
    twins = [token for token, _ in ranked if not token[0].isdigit()][: merges_wanted - len(merges)]
    merges += [(_SPACE, token) for token in twins]
    return _assemble(alphabet, merges)


def _assemble(alphabet: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    tokens = [*SPECIAL_TOKENS, *alphabet, *("".join(pair) for pair in merges)]
    tokens = list(dict.fromkeys(tokens))
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = board_pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def _read_merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges]
