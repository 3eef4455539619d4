"""Exact match on the held-out requests: float by PyTorch, INT8 and INT4 by the integer arithmetic of the boards.

    python examples/watch/measure.py examples/watch/checkpoint build/watch-dense

The integers are those of the golden, which every board reproduces bit for bit; `emulated` is what the rounding inside
PyTorch's forward pass gives for the same scheme, which should agree. Takes some minutes.
"""

import argparse
import concurrent.futures
import json
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from tokenizers import Tokenizer

from mmoe_embed.checkpoint import Checkpoint, load_checkpoint
from mmoe_embed.golden import Golden
from mmoe_embed.model import MoeModel
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.train.data import Pair, encode_pairs, read_pairs
from mmoe_embed.train.evaluate import match_exactly

HERE = Path(__file__).resolve().parent
SCHEMES = ("int8", "int4")
_golden: Golden  # of this process


def count_active(checkpoint: Checkpoint) -> tuple[int, int]:
    """(all parameters, those that one token meets); the embedding counts once."""
    config = checkpoint.config
    total = sum(t.size for t in checkpoint.tensors.values())
    expert = 3 * config.hidden_size * config.moe_intermediate_size
    idle = config.num_hidden_layers * (config.num_experts - config.num_experts_per_tok) * expert
    return total, total - idle


def match_in_torch(checkpoint: Checkpoint, pairs: list[Pair], scheme: str | None) -> float:
    """Share of exact matches in PyTorch, in float or with the scheme's rounding emulated."""
    model = MoeModel(checkpoint.config)
    model.load_numpy(checkpoint.tensors)
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    context = checkpoint.config.max_position_embeddings
    examples = encode_pairs(pairs, tokenizer, checkpoint.generation, context, "heldout.jsonl")
    right = match_exactly(model, examples, scheme)
    return sum(right) / len(right)


def _start(folder: Path, scheme: str) -> None:
    global _golden  # noqa: PLW0603 - one golden a process
    _golden = Golden(quantize_checkpoint(load_checkpoint(folder), scheme))


def _answer(prompt: str) -> str:
    return _golden.generate(prompt)


def answer_in_integers(folder: Path, pairs: list[Pair], scheme: str, processes: int) -> list[str]:
    """The golden's greedy answer to every request."""
    with (
        Progress(console=Console(stderr=True), transient=True) as progress,
        concurrent.futures.ProcessPoolExecutor(processes, initializer=_start, initargs=(folder, scheme)) as pool,
    ):
        prompts = [p.prompt for p in pairs]
        return list(
            progress.track(pool.map(_answer, prompts, chunksize=10), len(prompts), description=f"{folder} {scheme}")
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="checkpoint folders, or training runs that hold one")
    parser.add_argument("--data", type=Path, default=HERE / "heldout.jsonl", help="default: heldout.jsonl")
    parser.add_argument("--limit", type=int, help="only the first so many lines")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--wrong", type=Path, help="write every wrong integer answer to this JSONL file")
    options = parser.parse_args()
    pairs = read_pairs(options.data)[: options.limit]
    wrong = []
    print("| model | parameters, active | float | INT8 | INT4 | INT8, INT4 emulated |\n|---|---|---|---|---|---|")
    for folder in options.checkpoints:
        checkpoint = load_checkpoint(folder)
        total, active = count_active(checkpoint)
        shares = []
        for scheme in SCHEMES:
            answers = answer_in_integers(folder, pairs, scheme, options.processes)
            missed = [(p, a) for p, a in zip(pairs, answers, strict=True) if a != p.completion]
            shares.append(1 - len(missed) / len(pairs))
            about = {"model": str(folder), "scheme": scheme}
            wrong += [about | {"prompt": p.prompt, "expected": p.completion, "answer": a} for p, a in missed]
        with torch.no_grad():
            plain = match_in_torch(checkpoint, pairs, None)
            emulated = [match_in_torch(checkpoint, pairs, scheme) for scheme in SCHEMES]
        name = "MoE" if checkpoint.config.num_experts else "dense twin"
        cells = [name, f"{total:,}, {active:,}", *(f"{100 * s:.1f} %" for s in (plain, *shares))]
        print("| " + " | ".join([*cells, ", ".join(f"{100 * s:.1f} %" for s in emulated)]) + " |", flush=True)
    if options.wrong:
        options.wrong.write_text("".join(json.dumps(w, ensure_ascii=False) + "\n" for w in wrong), "utf-8")
    print(f"{len(pairs)} requests of {options.data.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
