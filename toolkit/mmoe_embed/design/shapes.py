"""A model as a scaling law sees it: active parameters, expert count, granularity, shared expert; and back."""

import dataclasses
import math

from mmoe_embed.checkpoint import tensor_shapes
from mmoe_embed.config import ModelConfig
from mmoe_embed.errors import UsageError

FEED_FORWARD_RATIO = 4  # of a token's feed-forward over the model's width, as in MobileMoE


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """What the law is a function of, but for the tokens.

    Attributes:
        active: parameters that one token uses, the tied embedding counted once.
        total: parameters in all.
        experts: E, parameters of all feed-forwards over those of a token's; 1 is a dense model.
        granularity: g, width of a token's feed-forwards over that of one routed expert; 1 for a dense model.
        shared: a part of them is one expert that every token uses; False for a dense model.
        routed: experts that a token chooses; 0 for a dense model.
    """

    active: int
    total: int
    experts: float
    granularity: float
    shared: bool
    routed: int


def locate(config: ModelConfig) -> Coordinates:
    """Where a model lies.

    Source:
        MobileMoE (arXiv 2605.27358): 60 routed experts, 4 a token, and a shared one four times as wide are E = 8 at
        granularity 8.
    """
    sizes = {name: math.prod(shape) for name, shape in tensor_shapes(config).items()}
    total = sum(size for name, size in sizes.items() if not name.endswith("router.bias"))  # no gradient trains it
    if not config.num_experts:
        return Coordinates(total, total, 1.0, 1.0, False, 0)
    routed = sum(size for name, size in sizes.items() if ".experts." in name)
    active = total - routed + routed * config.num_experts_per_tok // config.num_experts
    width, shared = config.moe_intermediate_size, config.shared_expert_intermediate_size
    used = config.num_experts_per_tok * width + shared
    experts = (config.num_experts * width + shared) / used
    return Coordinates(active, total, experts, used / width, shared > 0, config.num_experts_per_tok)


def feed_forward(width: int, experts: int, granularity: int, shared: bool) -> dict[str, int]:
    """Keys of config.json that make `width` of feed-forward a token's share of E = `experts` times as much.

    With a shared expert, half of a token's fine experts are merged into it.

    Raises:
        UsageError: `granularity` does not divide `width`, or a shared expert is to be half of an odd number.
    """
    if width % granularity:
        raise UsageError(f"granularity {granularity} does not divide a feed-forward of {width}")
    if experts == 1:
        return {
            "num_experts": 0,
            "num_experts_per_tok": 0,
            "moe_intermediate_size": 0,
            "shared_expert_intermediate_size": width,
        }
    if shared and granularity % 2:
        raise UsageError(
            f"a shared expert is half of a token's fine experts, of which there are {granularity}",
            try_="an even granularity, or no shared expert",
        )
    merged = granularity // 2 if shared else 0
    return {
        "num_experts": experts * granularity - merged,
        "num_experts_per_tok": granularity - merged,
        "moe_intermediate_size": width // granularity,
        "shared_expert_intermediate_size": merged * width // granularity,
    }
