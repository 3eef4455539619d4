"""A grid of training runs: a recipe's tables, and [[grid]] tables that list what varies."""

import dataclasses
import itertools
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from mmoe_embed.config import MAX_EXPERTS
from mmoe_embed.design.recipe_text import write_toml
from mmoe_embed.design.shapes import FEED_FORWARD_RATIO, feed_forward
from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.recipe import Positive, parse_recipe


class GridSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[grid]] table: a run for every combination that can be."""

    size: Annotated[list[dict[str, Any]], Meta(min_length=1)]  # keys of [model] each
    experts: list[Positive] = field(default_factory=lambda: [1])  # E; 1 is dense
    granularity: list[Positive] = field(default_factory=lambda: [1])
    shared: list[bool] = field(default_factory=lambda: [False])
    tokens: Annotated[list[Positive], Meta(min_length=1)]  # of the first stage
    learning_rate: Annotated[float, Meta(gt=0)] | None = None  # of the first stage, for sizes that want another
    seed: list[int] = field(default_factory=lambda: [1])


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a grid.

    Attributes:
        name: of its folder.
        recipe: TOML for `mmoe-embed train`, its paths absolute.
    """

    name: str
    recipe: str


def read_grid(file: Path) -> list[Job]:
    """The runs of a grid file in its order; a combination that several tables have is one run.

    Left out are shared experts at an odd granularity, and more routed experts than a model can have.

    Raises:
        ToolkitError: not TOML, a wrong key, or a run whose recipe `train` would refuse.
    """
    try:
        table = tomllib.loads(file.read_text("utf-8"))
        grids = msgspec.convert(table.pop("grid", []), list[GridSettings])
    except (FileNotFoundError, IsADirectoryError):
        raise ToolkitError(f"no grid {file}", at=str(file), try_="examples/text/sweep.toml is one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ToolkitError(
            f"not a grid of runs: {error}",
            at=f"{file}, [[grid]]",
            try_=f"supported keys there: {', '.join(GridSettings.__struct_fields__)}",
        ) from None
    if not grids or not table.get("stage"):
        raise ToolkitError("a grid has a recipe's tables and [[grid]]", at=str(file), try_="examples/text/sweep.toml")
    for source in table.get("source", []):
        source["path"] = [str(file.parent.resolve() / path) for path in source.get("path", [])]
    jobs: dict[str, Job] = {}
    for grid in grids:
        axes = (grid.size, grid.experts, grid.granularity, grid.shared, grid.tokens, grid.seed)
        first = {} if grid.learning_rate is None else {"learning_rate": grid.learning_rate}
        for size, experts, granularity, shared, tokens, seed in itertools.product(*axes):
            odd, many = shared and granularity % 2, experts * granularity - shared * granularity // 2 > MAX_EXPERTS
            if experts == 1 or not (odd or many):
                stage = first | {"tokens": tokens}
                job = _make_job(table, size, (experts, granularity, shared), stage, seed, str(file))
                if jobs.setdefault(job.name, job) != job:
                    raise ToolkitError(
                        f"two different runs are both {job.name}",
                        at=f"{file}, grid.size",
                        try_="sizes that differ in width or layers, and one learning rate of each",
                    )
    return list(jobs.values())


def _make_job(
    table: dict[str, Any], size: dict[str, Any], moe: tuple[int, int, bool], own: dict[str, Any], seed: int, at: str
) -> Job:
    experts, granularity, shared = moe
    model = table.get("model", {}) | size
    hidden = model.get("hidden_size", 0)
    model |= feed_forward(FEED_FORWARD_RATIO * hidden, experts, granularity, shared)
    first, *later = table["stage"]
    first = {key: value for key, value in first.items() if key != "steps"} | own
    recipe = table | {"seed": seed, "model": model, "stage": [first, *later]}
    kind = f"e{experts}-g{granularity}{'-shared' if shared else ''}" if experts > 1 else "dense"
    told = f"d{hidden}-l{model.get('num_hidden_layers')}-{kind}-t{own['tokens']}-s{seed}"
    parse_recipe(recipe, f"{at}, {told}")
    return Job(told, write_toml(recipe))
