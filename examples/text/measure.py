"""Held-out bits a byte of the two recipes' models, in float and rounded as each scheme rounds.

    python examples/text/measure.py build/text-moe build/text-dense

The rounding inside PyTorch gives the integers that `quantize` gives; every model is measured on the same documents.
"""

import argparse
from pathlib import Path

import torch

from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.model import MoeModel
from mmoe_embed.train.corpus import cut_held_out, token_bytes
from mmoe_embed.train.evaluate import measure_held_out
from mmoe_embed.train.prepare import prepare
from mmoe_embed.train.recipe import load_recipe

HERE = Path(__file__).resolve().parent
TOKENS = 1 << 17
BATCH = 16


def measure(recipe_file: Path, run: Path) -> list[float]:
    """Bits a byte of a run's checkpoint: float, INT8, INT4."""
    prepared = prepare(recipe_file, load_recipe(recipe_file), run)
    checkpoint = load_checkpoint(run)
    model = MoeModel(checkpoint.config)
    model.load_numpy(checkpoint.tensors)
    width, stop = checkpoint.config.max_position_embeddings, checkpoint.generation.stop_token
    sizes = token_bytes(prepared.tokenizer, checkpoint.config.vocab_size)
    bits = []
    for scheme in (None, "int8", "int4"):
        batches = cut_held_out(prepared.corpora["stdlib"].held_out, width, TOKENS // width, BATCH, stop)
        found = measure_held_out(model, batches, scheme, sizes)
        assert found is not None
        bits.append(found.bits_per_byte)
    return bits


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe", type=Path, help="the run of recipe.toml")
    parser.add_argument("dense", type=Path, help="the run of recipe_dense.toml")
    options = parser.parse_args()
    torch.set_num_threads(1)
    moe = measure(HERE / "recipe.toml", options.moe)
    dense = measure(HERE / "recipe_dense.toml", options.dense)
    print("| model | float | INT8 | INT4 |\n|---|---|---|---|")
    for name, bits in (("Mixture-of-Experts", moe), ("dense twin", dense)):
        changes = [f"{b:.4f} ({100 * (b / bits[0] - 1):+.2f} %)" for b in bits[1:]]
        print(f"| {name} | " + " | ".join([f"{bits[0]:.4f}", *changes]) + " |")
    less = [f"{100 * (1 - m / d):.2f} %" for m, d in zip(moe, dense, strict=True)]
    print(f"| fewer bits than dense | {' | '.join(less)} |")


if __name__ == "__main__":
    main()
