"""The pass: one line of C per operation of the graph."""

import dataclasses

import numpy as np

from mmoe_embed.config import ModelConfig
from mmoe_embed.graph import Graph, Op, moe_shape
from mmoe_embed.weights import symbol_name


def float_literal(value: float) -> str:
    """A C literal of exactly this float32."""
    return f"{float(np.float32(value)).hex()}f"


def op_symbol(op: Op) -> str:
    """Name of the operation's index in the emitted enum."""
    return "OP_" + op.name.replace(".", "_").upper()


@dataclasses.dataclass(frozen=True)
class MoeLayer:
    """What the initialiser of one layer's mmoe_moe says."""

    layer: int
    number: int  # among the layers that have experts
    next: str
    experts: int
    top_k: int
    expert_width: int
    shared_width: int
    router_weight: str
    router_bias: str
    shared_gate_up: str
    shared_down: str
    shared_gate: str


def describe_moe(config: ModelConfig, layer: int) -> MoeLayer:
    """Symbols of one layer's MoE block; NULL where the model has none."""
    at = f"layers_{layer}_"
    router, shared = config.experts_of(layer) > 0, config.shared_width(layer) > 0
    later = [routed for routed in config.routed_layers if routed > layer]
    return MoeLayer(
        layer,
        config.routed_layers.index(layer) if layer in config.routed_layers else 0,
        f"&layers_{later[0]}_moe" if later else "NULL",
        *moe_shape(config, layer),
        at + "router_weight" if router else "NULL",
        at + "router_bias" if router else "NULL",
        f"&{at}shared_gate_up" if shared else "NULL",
        f"&{at}shared_down" if shared else "NULL",
        f"{at}shared_gate" if config.shared_expert_gate and layer not in config.dense_layers else "NULL",
    )


def op_lines(graph: Graph, config: ModelConfig) -> list[str]:
    """The body of the pass, one RUN(...) per operation; logits are made only when asked for."""
    lines = []
    for op in graph.ops:
        if op.name == "norm":
            lines.append("if (!rt->head) return MMOE_OK;")
        lines.append(f"RUN({op_symbol(op)}, {_call(op, graph, config)});")
    return lines


def _call(op: Op, graph: Graph, config: ModelConfig) -> str:
    def at(name: str) -> str:
        if not name:
            return "NULL"
        kind = {"float": "F32", "int8": "VEC", "scratch": "RAW"}[graph.tensors[name].type]
        return f"{kind}({name})"

    def size(number: int) -> int:
        return graph.tensors[op.inputs[number]].shape[1]

    ins, outs = [at(name) for name in op.inputs], [at(name) for name in op.outputs]
    weights = symbol_name(op.weights)
    match op.kind:
        case "embed":
            return f"mmoe_op_embed(rt, &{weights}, {outs[0]})"
        case "window":
            return f"mmoe_op_window(rt, input_mean, input_gain, {config.input_channels}, {outs[0]}, {outs[1]})"
        case "pool":
            return f"mmoe_op_pool(rt, {ins[0]}, {size(0)}, {outs[0]})"
        case "rmsnorm":
            eps = float_literal(config.rms_norm_eps)
            return f"mmoe_op_rmsnorm(rt, {ins[0]}, {weights}, {size(0)}, {eps}, {outs[0]}, {outs[1]})"
        case "linear" if op.last:
            queries = config.attention_width
            return f"mmoe_op_linear_last(rt, &{weights}, {queries}, {ins[0]}, {outs[0]}, {at(op.scratch)})"
        case "attention" if op.last:
            return f"mmoe_op_attention_last(rt, &attention, {op.layer}, {', '.join(outs)}, {size(1)})"
        case "linear":
            name, to = ("mmoe_op_linear", outs[0]) if len(outs) == 1 else ("mmoe_op_linear_add", ", ".join(outs))
            return f"{name}(rt, &{weights}, {ins[0]}, {to}, {at(op.scratch)})"
        case "bias":
            return f"mmoe_op_bias(rt, {weights}, {size(0)}, {outs[0]})"
        case "norm_parts":
            eps, parts = float_literal(config.rms_norm_eps), ", ".join(map(str, op.parts))
            return f"mmoe_op_norm_parts(rt, {outs[0]}, {size(0)}, {parts}, {weights}, {eps})"
        case "attention":
            return f"mmoe_op_attention(rt, &attention, {op.layer}, {ins[0]}, {outs[1]})"
        case "moe":
            return f"mmoe_op_moe(rt, &layers_{op.layer}_moe, {ins[0]}, {ins[1]}, {ins[2]}, {at(op.scratch)})"
    raise AssertionError(op.kind)
