"""Which piece of a tensor of ours is which piece of a tensor of theirs: one list serves both directions."""

import dataclasses

from mmoe_embed.config import ModelConfig
from mmoe_embed.tensors import Array


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a tensor as a view of it.

    Attributes:
        at: its indices and slices, from the first axis on.
        shape: what it is then taken as; () as it is.
        axes: the order that its axes are then brought into; () as they are.
    """

    name: str
    at: tuple[int | slice, ...] = ()
    shape: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()

    def view(self, array: Array) -> Array:
        """The piece of an array that holds the tensor; what is written to it is written to the array.

        Raises:
            IndexError: the array has fewer axes, or they are shorter.
            ValueError: the piece has not as many elements as the shape.
        """
        array = array[self.at] if self.at else array
        array = array.reshape(self.shape) if self.shape else array
        return array.transpose(self.axes) if self.axes else array


@dataclasses.dataclass(frozen=True)
class Link:
    """Two pieces that are equal."""

    ours: Part
    theirs: Part


@dataclasses.dataclass(frozen=True)
class Packed:
    """Where a tensor of theirs lies in INT4, groups of 32 along its last axis."""

    integers: str  # U8 (..., n / 2), the low nibble first
    scales: str  # F16 (..., n / 32)


@dataclasses.dataclass(frozen=True)
class Names:
    """How a family calls its tensors, and how it lays them out.

    Attributes:
        block: what the experts are a part of, within a layer.
        router: (E, d), within the block.
        router_bias: (E), within the block; "" where the family has none.
        experts: gate, up and down of one expert; one name, gate and up joined, where all experts are one tensor
            (E, in, out).
        shared: the shared expert, within the block; "" where the family has none.
        rotates_pairs: rotary turns neighbouring elements of a head, not its halves.
    """

    block: str = "mlp"
    router: str = "gate.weight"
    router_bias: str = ""
    experts: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    shared: str = ""
    rotates_pairs: bool = False


def list_links(config: ModelConfig, names: Names) -> list[Link]:
    """Every tensor of a checkpoint of ours that a family has, and where it lies there."""
    links = [_same("embed_tokens.weight", "model.embed_tokens.weight"), _same("norm.weight", "model.norm.weight")]
    if not config.tie_word_embeddings:
        links.append(_same("lm_head.weight", "lm_head.weight"))
    for layer in range(config.num_hidden_layers):
        ours, theirs = f"layers.{layer}.", f"model.layers.{layer}."
        links += [
            _same(ours + "attn_norm.weight", theirs + "input_layernorm.weight"),
            _same(ours + "moe_norm.weight", theirs + "post_attention_layernorm.weight"),
            *_link_attention(config, names, ours + "attn.", theirs + "self_attn."),
            *_link_feed_forward(config, names, layer, ours + "moe.", f"{theirs}{names.block}."),
        ]
    return links


def _same(ours: str, theirs: str) -> Link:
    return Link(Part(ours), Part(theirs))


def _link_attention(config: ModelConfig, names: Names, ours: str, theirs: str) -> list[Link]:
    links = [_same(f"{ours}{x}_proj.weight", f"{theirs}{x}_proj.weight") for x in "vo"]
    for x, heads in (("q", config.num_attention_heads), ("k", config.num_key_value_heads)):
        if names.rotates_pairs:  # element 2i of a head is our i, element 2i + 1 is our i + D / 2
            half, d = config.head_dim // 2, config.hidden_size
            own = Part(f"{ours}{x}_proj.weight", shape=(heads, 2, half, d))
            other = Part(f"{theirs}{x}_proj.weight", shape=(heads, half, 2, d), axes=(0, 2, 1, 3))
            links.append(Link(own, other))
        else:
            links.append(_same(f"{ours}{x}_proj.weight", f"{theirs}{x}_proj.weight"))
    if config.attention_bias:
        links += [_same(f"{ours}{x}_proj.bias", f"{theirs}{x}_proj.bias") for x in "qkv"]
    if config.pre_rotary_norm != "none":
        links += [_same(f"{ours}{x}_norm.weight", f"{theirs}{x}_norm.weight") for x in "qk"]
    return links


def _link_feed_forward(config: ModelConfig, names: Names, layer: int, ours: str, theirs: str) -> list[Link]:
    projections = ("gate_proj", "up_proj", "down_proj")
    if layer in config.dense_layers:
        return [_same(f"{ours}shared.{x}.weight", f"{theirs}{x}.weight") for x in projections]
    links = [_same(ours + "router.weight", theirs + names.router)]
    if names.router_bias:
        links.append(_same(ours + "router.bias", theirs + names.router_bias))
    if len(names.experts) == len(projections):
        links += [
            Link(Part(f"{ours}experts.{x}", (expert,)), Part(f"{theirs}experts.{expert}.{name}.weight"))
            for expert in range(config.num_experts)
            for x, name in zip(projections, names.experts, strict=True)
        ]
    else:
        links += _link_stacked_experts(config, names, ours, theirs)
    if config.shared_expert_intermediate_size:
        links += [_same(f"{ours}shared.{x}.weight", f"{theirs}{names.shared}.{x}.weight") for x in projections]
    if config.shared_expert_gate:
        links.append(_same(ours + "shared_gate.weight", f"{theirs}{names.shared}_gate.weight"))
    return links


def _link_stacked_experts(config: ModelConfig, names: Names, ours: str, theirs: str) -> list[Link]:
    gate_up, down = (f"{theirs}experts.{name}" for name in names.experts)
    width, every, turned = config.moe_intermediate_size, slice(None), (0, 2, 1)
    return [
        Link(Part(ours + "experts.gate_proj"), Part(gate_up, (every, every, slice(None, width)), axes=turned)),
        Link(Part(ours + "experts.up_proj"), Part(gate_up, (every, every, slice(width, None)), axes=turned)),
        Link(Part(ours + "experts.down_proj"), Part(down, axes=turned)),
    ]
