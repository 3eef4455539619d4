"""The joint law against the figures of its source, and its file."""

from pathlib import Path

import numpy as np
import pytest

import mmoe_embed.design
from mmoe_embed.design.law import PAPER, expand, load_law, parse_law
from mmoe_embed.design.runs import read_runs
from mmoe_embed.errors import ToolkitError, UsageError

WATCH_RUNS = Path(mmoe_embed.design.__file__).parent / "watch.csv"
EXPERTS = [1, 2, 4, 8, 16, 32]


def test_expanded_experts_saturate() -> None:
    assert expand(EXPERTS) == pytest.approx([1, 1.911, 3.581, 6.421, 10.681, 16.008], abs=5e-4)


@pytest.mark.parametrize(
    ("tokens", "active", "losses"),
    [
        (100e9, 0.3e9, [2.4461, 2.4094, 2.3891, 2.3795, 2.3761, 2.3759]),
        (100e9, 0.9e9, [2.3563, 2.3241, 2.3086, 2.3039, 2.3053, 2.3092]),
        (500e9, 0.5e9, [2.3455, 2.3128, 2.3053, 2.3085, 2.3154, 2.3225]),
    ],
)
def test_papers_constants_give_its_losses(tokens: float, active: float, losses: list[float]) -> None:
    """Little is gained past 8 experts, and 32 are worse, as the paper says."""
    assert PAPER.loss(active, tokens, EXPERTS) == pytest.approx(losses, abs=5e-5)


def test_dense_model_has_neither_granularity_nor_shared_expert() -> None:
    law = parse_law(PAPER.to_json().replace('"eta": 0.0', '"eta": -0.1').replace('"sigma": 0.0', '"sigma": -0.2'), "")
    assert law.loss(1e9, 1e11, 1, 8, True) == PAPER.loss(1e9, 1e11, 1)
    first = law.loss(1e9, 1e11, 8, 8, True) - law.loss(1e9, 1e30, 8, 8, True)  # the term of tokens is as it was
    assert first == pytest.approx(PAPER.loss(1e9, 1e11, 8) - PAPER.loss(1e9, 1e30, 8))
    assert law.loss(1e9, 1e11, 8, 8, True) < law.loss(1e9, 1e11, 8, 4, True) < law.loss(1e9, 1e11, 8, 4, False)


def test_law_says_where_it_was_not_fitted() -> None:
    assert PAPER.outside(0.5e9, 200e9, 8, 8) == []
    told = PAPER.outside(300_000, 3_000_000, 64, 8)
    assert [line.split()[0] for line in told] == ["active", "tokens", "experts"]


def test_law_of_watch_scale_is_the_fit_of_the_runs_beside_it() -> None:
    law, runs = load_law("watch"), [run for run in read_runs(WATCH_RUNS) if run.at.routed != 1]
    assert law.fitted.active[1] <= 1e6
    assert law.fitted.active == (min(run.at.active for run in runs), max(run.at.active for run in runs))
    losses = [law.loss(r.at.active, r.tokens, r.at.experts, r.at.granularity, r.at.shared) - r.loss for r in runs]
    assert float(np.sqrt(np.mean(np.square(losses)))) == pytest.approx(law.rmse, rel=1e-3)
    for experts in (1, 8, 32):  # more is better, in the law as in the runs
        assert np.all(np.diff(law.loss([1e5, 2e5, 4e5], 3e5, experts, 4, True)) < 0)
        assert np.all(np.diff(law.loss(2e5, [2e5, 4e5, 8e5], experts, 4, True)) < 0)


def test_law_survives_its_file() -> None:
    assert parse_law(PAPER.to_json(), "law.json") == PAPER


def test_law_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no law 'papers'"):
        load_law("papers")
    with pytest.raises(ToolkitError, match="not a law"):
        parse_law("{}", "law.json")
