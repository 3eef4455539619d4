"""The resumable state of a run: one file, replaced whole, loaded without running code."""

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.evaluate import HeldOut

_VERSION = 3


@dataclasses.dataclass
class State:
    """Where a run stands. Batches are a function of seed and step, so no generator needs to be kept."""

    identity: str  # of recipe, data and tokenizer
    stage: int = 0  # index of the stage in the recipe
    step: int = 0  # steps of this stage that are done
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: dict[str, Any] = dataclasses.field(default_factory=dict)
    window: list[float] = dataclasses.field(default_factory=lambda: [0.0] * 5)  # sums of metrics since the last row
    rows: list[dict[str, str]] = dataclasses.field(default_factory=list)  # metrics.csv so far
    found: dict[str, dict[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)  # stage: source: HeldOut

    def held_out(self) -> dict[str, dict[str, HeldOut]]:
        """Stage: source: its last evaluation."""
        return {
            stage: {source: HeldOut(**value) for source, value in sources.items()}
            for stage, sources in self.found.items()
        }


def save_state(file: Path, state: State) -> None:
    """Write the state beside the old one, then put it in its place."""
    part = file.with_name(file.name + ".part")
    with part.open("wb") as stream:
        torch.save({"version": _VERSION, **vars(state)}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def load_state(file: Path) -> State:
    """Read a state back.

    Raises:
        ToolkitError: not a state, a damaged one, or one of another version.
    """
    try:
        table = torch.load(file, weights_only=True)
        version = table.pop("version")
        state = State(**table)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ToolkitError(
            f"not a training state, or a damaged one: {str(error).splitlines()[0]}",
            at=str(file),
            try_="delete the folder and train anew",
        ) from None
    if version != _VERSION:
        raise ToolkitError(
            f"training state of version {version}, this is version {_VERSION}", at=str(file), try_="train anew"
        )
    return state
