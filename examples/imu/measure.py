"""Accuracy on people that training has not met, after so many windows: float by PyTorch, INT8 and INT4 by the golden.

    python examples/imu/measure.py                      # the checkpoint here; needs data/heldout.safetensors

The integers are those of the golden, which every board reproduces bit for bit. Takes a minute.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmoe_embed.checkpoint import Checkpoint, load_checkpoint
from mmoe_embed.golden import Golden
from mmoe_embed.model import MoeModel
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.signals import Signals, cut_windows, read_signals

HERE = Path(__file__).resolve().parent


def classes_in_float(checkpoint: Checkpoint, data: Signals) -> NDArray[np.int64]:
    """The class after every window of every recording, (recordings, windows)."""
    model = MoeModel(checkpoint.config)
    model.load_numpy(checkpoint.tensors)
    windows = torch.from_numpy(cut_windows(data.values, checkpoint.config))
    with torch.no_grad():
        logits = model(windows)[0]
    return np.asarray(logits.argmax(dim=-1).reshape(windows.shape[:2]).numpy())


def classes_in_integers(checkpoint: Checkpoint, data: Signals, scheme: str) -> NDArray[np.int64]:
    """The same by the arithmetic of SPEC.md 3."""
    golden = Golden(quantize_checkpoint(checkpoint, scheme))
    found = []
    for signal in data.values:
        golden.reset()
        windows = cut_windows(signal, checkpoint.config)
        found.append([int(np.argmax(golden.classify(windows[i : i + 1]))) for i in range(len(windows))])
    return np.array(found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=HERE, help="default: the one here")
    parser.add_argument("--data", type=Path, default=HERE / "data" / "heldout.safetensors")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    config = checkpoint.config
    data = read_signals(options.data, config, "python examples/imu/imu_signals.py")
    found = {"float": classes_in_float(checkpoint, data)}
    found |= {scheme.upper(): classes_in_integers(checkpoint, data, scheme) for scheme in ("int8", "int4")}
    right = {name: classes == data.labels[:, None] for name, classes in found.items()}
    windows = found["float"].shape[1]
    print(f"{len(data)} recordings of {options.data.name}\n")
    print("| windows | frames | " + " | ".join(right) + " |\n|---|---|---|---|---|")
    for count in sorted({1, 2, 4, 8, 16, windows}):
        frames = config.input_frames + (count - 1) * config.input_stride
        shares = " | ".join(f"{100 * table[:, count - 1].mean():.1f} %" for table in right.values())
        print(f"| {count} | {frames} | {shares} |")


if __name__ == "__main__":
    main()
