"""Models as the law sees them."""

import pytest

from mmoe_embed.bench.random_models import MOBILEMOE_S
from mmoe_embed.checkpoint import tensor_shapes
from mmoe_embed.config import ModelConfig
from mmoe_embed.design.candidates import list_candidates, stand_in, with_layers
from mmoe_embed.design.law import PAPER
from mmoe_embed.design.shapes import feed_forward, locate
from mmoe_embed.errors import UsageError
from mmoe_embed.experts import expert_page
from mmoe_embed.weights import build_weights


def test_mobilemoe_lies_where_its_paper_puts_it() -> None:
    """The published parameter counts to the last one; 8 experts at granularity 8, with a shared expert."""
    at = locate(MOBILEMOE_S)
    assert (at.active, at.total) == (272_468_736, 1_263_373_056)
    assert (at.experts, at.granularity, at.shared) == (8, 8, True)


@pytest.mark.parametrize(
    ("experts", "granularity", "shared"), [(8, 8, True), (8, 4, False), (2, 1, False), (32, 4, True)]
)
def test_feed_forward_has_the_experts_asked_for(experts: int, granularity: int, shared: bool) -> None:
    config = ModelConfig(**_keys() | feed_forward(128, experts, granularity, shared))
    dense = locate(ModelConfig(**_keys() | feed_forward(128, 1, 1, False)))
    at = locate(config)
    assert (at.experts, at.granularity, at.shared) == (experts, granularity, shared)
    router = config.num_experts * config.hidden_size * config.num_hidden_layers
    assert at.active == dense.active + router  # as wide as the dense model's, but for the router


def test_shared_expert_of_half_an_odd_number_is_refused() -> None:
    with pytest.raises(UsageError, match="half of a token's fine experts, of which there are 1"):
        feed_forward(128, 8, 1, True)
    with pytest.raises(UsageError, match="granularity 3 does not divide"):
        feed_forward(128, 8, 3, False)


def test_candidates_know_their_parameters_and_bytes() -> None:
    """What a search takes from one layer and multiplies is what the whole model has."""
    found = [c for c in list_candidates(PAPER, 10**11, 64, 300) if c.at.total < 400_000][::79]
    assert len(found) > 10
    for candidate in found:
        assert candidate.at == locate(candidate.config)
        model = stand_in(candidate.config, candidate.scheme)
        page = expert_page(model)
        routed = page.size_bytes * candidate.config.num_experts * candidate.config.num_hidden_layers if page else 0
        weights = len(build_weights(model).data)
        assert (
            0 <= weights - candidate.flash_bytes(experts=False) < 16 * len(model.matrices) * 3 + 16 * len(model.floats)
        )
        assert 0 <= weights + routed - candidate.flash_bytes(experts=True) <= 0.1 * routed + weights


def test_candidates_cover_what_can_be_chosen() -> None:
    found = list_candidates(PAPER, 10**11, 64, 300)
    assert [c.loss for c in found] == sorted(c.loss for c in found)
    assert {c.scheme for c in found} == {"int8", "int4"}
    assert {(c.at.experts, c.at.granularity, c.at.shared) for c in found} >= {
        (1, 1, False), (8, 8, True), (8, 2, False), (32, 4, True), (2, 4, True),
    }  # fmt: skip
    assert all(c.at.routed != 1 for c in found)
    assert all(set(tensor_shapes(c.config)) for c in found[:3])
    assert locate(with_layers(MOBILEMOE_S, 1)).total < locate(MOBILEMOE_S).total


def _keys() -> dict[str, int]:
    return {
        "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64,
    }  # fmt: skip
