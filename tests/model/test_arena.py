"""What in-place results, other orders and splits save in the arena."""

import time

from random_model import small_config

import memory_planner
from mmoe_embed.arena import arena_problem, measure_savings, step_graph
from mmoe_embed.config import ModelConfig
from mmoe_embed.graph import Graph, Op, Tensor, build_graph


def tensor(name: str, size_bytes: int) -> Tensor:
    return Tensor(name, "float", (size_bytes // 4,), size_bytes, str(size_bytes))


def test_measure_savings_in_place() -> None:
    tensors = {name: tensor(name, 64) for name in ("X", "OUT")} | {"LOGITS": tensor("LOGITS", 16)}
    ops = (
        Op("embed", "embed", (), ("X",)),
        Op("o", "linear", ("X",), ("OUT",)),
        Op("add", "add", ("OUT", "X"), ("X",)),
        Op("head", "linear", ("X",), ("LOGITS",)),
    )
    graph = Graph(ops, tensors, "LOGITS")
    arena = memory_planner.solve(arena_problem(graph))
    assert arena.total_bytes == 128
    savings = measure_savings(graph, arena)
    assert (savings.in_place_bytes, savings.reordering_bytes, savings.reordering_proven) == (64, 0, True)


def test_measure_savings_reordering() -> None:
    """Two branches: to finish the large one first is 48 bytes cheaper than the order given."""
    sizes = {"IN": 16, "A": 64, "B": 64, "A2": 16, "B2": 16, "LOGITS": 16}
    ops = (
        Op("embed", "embed", (), ("IN",)),
        Op("a", "linear", ("IN",), ("A",)),
        Op("b", "linear", ("IN",), ("B",)),
        Op("a2", "linear", ("A",), ("A2",)),
        Op("b2", "linear", ("B",), ("B2",)),
        Op("head", "add", ("A2", "B2"), ("LOGITS",)),
    )
    graph = Graph(ops, {name: tensor(name, size) for name, size in sizes.items()}, "LOGITS")
    savings = measure_savings(graph, memory_planner.solve(arena_problem(graph)))
    assert (savings.reordering_bytes, savings.reordering_proven) == (48, True)


def test_step_graph_writes_every_tensor_once() -> None:
    steps = step_graph(build_graph(small_config()))
    outputs = [name for operator in steps.operators for name in operator.outputs]
    assert len(set(outputs)) == len(outputs) == len(steps.tensors)


def test_every_graph_is_proven_at_once() -> None:
    """Widths, layers and experts over all that SPEC.md allows on small boards: the arena is proven, in 0.2 s at most."""
    for hidden in (32, 64, 96, 256):
        for layers in (1, 4, 12, 30):
            for experts in (0, 4, 64):
                config: ModelConfig = small_config(
                    hidden_size=hidden,
                    num_hidden_layers=layers,
                    num_experts=experts,
                    num_experts_per_tok=min(experts, 4),
                    shared_expert_intermediate_size=128,
                )
                plan = memory_planner.solve(arena_problem(build_graph(config)))
                assert plan.proven
                assert plan.cpu_seconds < 0.2


def test_savings_are_told_at_once_for_odd_sizes() -> None:
    config = small_config(
        hidden_size=37, num_attention_heads=3, head_dim=6, num_experts=1, num_experts_per_tok=1,
        moe_intermediate_size=13, shared_expert_intermediate_size=9, max_position_embeddings=50,
    )  # fmt: skip
    graph = build_graph(config)
    started = time.process_time()
    measure_savings(graph, memory_planner.solve(arena_problem(graph)))
    assert time.process_time() - started < 0.5
