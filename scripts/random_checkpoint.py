"""Write a checkpoint of a real model's size with random weights: python scripts/random_checkpoint.py MODEL FOLDER."""

import argparse
from pathlib import Path

from mmoe_embed.bench.random_models import MODELS, write_random_checkpoint


def main() -> None:
    """Read the arguments and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--zipf", type=float, default=0.0, metavar="S",
        help="experts of a layer are used as 1 / rank^S (recorded routing of a 30 B model: 0.9) in place of evenly",
    )  # fmt: skip
    arguments = parser.parse_args()
    write_random_checkpoint(arguments.folder, MODELS[arguments.model], arguments.seed, arguments.zipf)


if __name__ == "__main__":
    main()
