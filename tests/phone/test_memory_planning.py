"""memory_planner inside ExecuTorch's export: real models, planned, verified by ExecuTorch, and run."""

import functools
import itertools
import random
import warnings

import pytest
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.memory_planning import MemoryPlanningAlgorithmSuite, Verifier, collect_specs_from_nodes, greedy
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.tensor import TensorSpec
from executorch.runtime import Runtime
from models import MODELS
from torch import nn

from mmoe_embed.errors import ToolkitError
from mmoe_embed.executorch import memory_planning_algo, plan_specs, read_reports

pytestmark = [
    pytest.mark.executorch,
    # ExecuTorch and PyTorch themselves warn of their own deprecated calls while a model is lowered
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def lower(module, x, algorithm, partitioner=()):
    edge = to_edge_transform_and_lower(torch.export.export(module.eval(), (x,)), partitioner=list(partitioner))
    return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(algorithm)))


@functools.cache
def planned(name):
    """(module, input, program) of a model, planned by memory_planner."""
    torch.manual_seed(0)
    module, x = MODELS[name]()
    return module, x, lower(module, x, memory_planning_algo)


def report_of(program):
    (report,) = read_reports(program.exported_program("forward").graph_module)
    return report


def sizes_of(program):
    return list(program.executorch_program.execution_plan[0].non_const_buffer_sizes)


def specs_of(program):
    exported = program.exported_program("forward")
    return list(
        collect_specs_from_nodes(exported.graph_module.graph.nodes, exported.graph_signature, do_assertion=False)
    )


def most_live_bytes(specs):
    """Bytes alive together at the worst node: below this no plan can be."""
    times = {spec.lifetime[0] for spec in specs}
    return max(sum(s.allocated_memory for s in specs if s.lifetime[0] <= t <= s.lifetime[1]) for t in times)


@pytest.mark.parametrize("name", MODELS)
def test_real_models_are_never_larger_than_greedy_proven_smallest_and_run(name):
    module, x, program = planned(name)
    report = report_of(program)
    assert sizes_of(program) == [0, report.size_bytes]
    assert report.lower_bound_bytes <= report.size_bytes <= report.greedy_bytes
    print(f"{name}: greedy {report.greedy_bytes} B, memory_planner {report.size_bytes} B, proven {report.proven}")
    assert report.proven
    assert report.size_bytes == report.lower_bound_bytes >= most_live_bytes(specs_of(program))
    exported = program.exported_program("forward")
    verifier = Verifier(exported.graph_module, True, True, True, exported.graph_signature)
    assert verifier.verify_storage_reuse() > 0  # ExecuTorch's own check of overlaps
    loaded = Runtime.get().load_program(program.buffer)
    got = loaded.load_method("forward").execute([x])[0]
    torch.testing.assert_close(got, module(x), rtol=1e-4, atol=1e-5)


def test_greedy_alone_needs_what_the_report_says_and_more():
    module, x, program = planned("inception")
    by_greedy = sum(sizes_of(lower(module, x, MemoryPlanningAlgorithmSuite([greedy]))))
    assert report_of(program).greedy_bytes == by_greedy
    assert sum(sizes_of(program)) < 0.9 * by_greedy


def test_xnnpack_programs_keep_their_padding_and_run():
    module, x, _ = planned("experts")
    program = lower(module, x, memory_planning_algo, [XnnpackPartitioner()])
    report = report_of(program)
    assert report.size_bytes - 64 >= most_live_bytes(specs_of(program))  # 64: what ExecuTorch adds for XNNPACK
    assert report.size_bytes <= report.greedy_bytes
    loaded = Runtime.get().load_program(program.buffer)
    torch.testing.assert_close(loaded.load_method("forward").execute([x])[0], module(x), rtol=1e-4, atol=1e-5)


def test_mutable_state_keeps_its_place_between_calls():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(8))

        def forward(self, x):
            self.seen.add_(x)
            return torch.softmax(self.seen * 2 + x.exp(), 0)

    program = lower(Counter(), torch.ones(8), memory_planning_algo)
    loaded = Runtime.get().load_program(program.buffer)
    method, eager = loaded.load_method("forward"), Counter()
    for x in torch.randn(4, 8):
        torch.testing.assert_close(method.execute([x])[0], eager(x))


def test_a_suite_takes_the_smaller_plan():
    module, x, alone = planned("inception")
    assert sizes_of(lower(module, x, MemoryPlanningAlgorithmSuite([greedy, plan_specs]))) == sizes_of(alone)


def test_without_time_the_plan_is_still_no_larger_than_greedy():
    module, x, _ = planned("inception")
    report = report_of(lower(module, x, functools.partial(memory_planning_algo, deadline_s=0.0)))
    assert report.size_bytes <= report.greedy_bytes


def test_a_graph_planned_by_greedy_has_no_report():
    program = lower(nn.Linear(4, 4), torch.randn(1, 4), MemoryPlanningAlgorithmSuite([greedy]))
    with pytest.raises(ToolkitError, match="not planned by memory_planner"):
        read_reports(program.exported_program("forward").graph_module)


def make_spec(size_bytes, first, last, mem_id=None):
    spec = TensorSpec(torch.uint8, torch.Size([size_bytes]))
    spec.lifetime, spec.mem_id = [first, last], mem_id
    return spec


def empty_graph(*reserved):
    module = torch.fx.symbolic_trace(nn.Identity())
    module.input_mem_buffer_sizes = list(reserved)
    return module


def smallest_of_all_orders(specs):
    """The optimum by brute force: every packing can be had by placing tensors lowest-first in some order."""
    best = None
    for order in itertools.permutations(specs):
        placed = []
        for spec in order:
            offset = 0
            for low, high, other in sorted(placed, key=lambda p: p[0]):
                apart = other.lifetime[1] < spec.lifetime[0] or spec.lifetime[1] < other.lifetime[0]
                if not apart and low < offset + spec.allocated_memory:
                    offset = max(offset, high)
            placed.append((offset, offset + spec.allocated_memory, spec))
        top = max(high for _, high, _ in placed)
        best = top if best is None else min(best, top)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_what_is_called_proven_is_the_optimum_of_all_orders(seed):
    source = random.Random(seed)
    specs = [
        make_spec(16 * source.randint(1, 9), first := source.randint(0, 6), first + source.randint(0, 4))
        for _ in range(6)
    ]
    graph = empty_graph()
    result = plan_specs(16, specs, graph)
    (report,) = read_reports(graph)
    assert report.proven
    assert result.bufsizes == [0, smallest_of_all_orders(specs)]


def test_each_memory_is_planned_alone_behind_what_control_flow_has_reserved():
    specs = [
        make_spec(64, 0, 3),
        make_spec(32, 2, 5, mem_id=1),
        make_spec(160, 0, 9, mem_id=3),
        make_spec(48, 4, 6, mem_id=3),
    ]
    graph = empty_graph(0, 128)
    sizes = memory_planning_algo(16, specs, graph, None, 64)
    assert sizes == [0, 128 + 96 + 64, 0, 208 + 64]
    assert {spec.mem_id for spec in specs} == {1, 3}
    assert all(spec.mem_offset >= 128 for spec in specs[:2])
    assert sizes == greedy(16, specs, graph, None, 64).bufsizes


def test_a_tensor_inside_another_ones_storage_follows_it():
    base, view = make_spec(64, 0, 6), make_spec(16, 2, 4)
    view.storage_base, view.storage_base_offset = base, 32
    other = make_spec(32, 0, 6)
    memory_planning_algo(16, [other, view, base], empty_graph())
    assert (view.mem_id, view.mem_offset) == (1, base.mem_offset + 32)
    lonely = make_spec(16, 0, 1)
    lonely.storage_base = make_spec(64, 0, 1)
    with pytest.raises(Exception, match="storage_base"):
        memory_planning_algo(16, [lonely], empty_graph())


def test_planning_changes_no_spec_when_asked_for_the_plan_alone():
    specs = [make_spec(64, 0, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan_specs(16, specs, empty_graph())
    assert specs[0].mem_id is None
    assert specs[0].mem_offset is None
