"""The loss for local routing, and stages that start from a checkpoint."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from mmoe_embed.errors import ToolkitError
from mmoe_embed.train.locality import concentrate_use, share_use, spread_over_blocks
from mmoe_embed.train.loop import train_recipe

pytestmark = pytest.mark.torch

EXPERTS, TOP_K = 8, 2


def certain(choices: list[list[int]]) -> "torch.Tensor":
    """Router scores of one layer that leave no doubt, (tokens, experts)."""
    scores = torch.zeros(len(choices), EXPERTS)
    for token, experts in enumerate(choices):
        scores[token, experts] = 1.0
    return scores


def spread(choices: list[list[int]], real: list[bool] | None = None, block: int = 2) -> float:
    use = share_use([certain(choices)], TOP_K)
    return float(spread_over_blocks(use, torch.tensor([real or [True] * len(choices)]), block))


def test_spread_counts_distinct_experts_of_a_block() -> None:
    assert spread([[0, 1], [0, 1], [2, 3], [2, 3]]) == pytest.approx(1)
    assert spread([[0, 1], [2, 3], [0, 1], [2, 3]]) == pytest.approx(2)
    assert spread([[0, 1], [2, 3], [0, 1], [2, 3]], block=4) == pytest.approx(2)
    assert spread([[0, 1], [2, 3], [4, 5], [6, 7]], block=4) == pytest.approx(4)
    assert spread([[0, 1], [1, 2]]) == pytest.approx(1.5)


def test_spread_ignores_padding_and_takes_short_blocks() -> None:
    padded = [True, True, True, False, False, False]
    choices = [[0, 1], [0, 1], [2, 3], [4, 5], [6, 7], [0, 7]]
    assert spread(choices, padded) == pytest.approx(1)
    assert spread(choices[:3], block=8) == pytest.approx(2)


def test_spread_is_of_each_layer_and_row() -> None:
    same, other = certain([[0, 1]] * 4), certain([[0, 1], [2, 3]] * 2)
    use, real = share_use([same, other], TOP_K), torch.ones(2, 2, dtype=torch.bool)  # two rows of two tokens
    assert float(spread_over_blocks(use, real, 2)) == pytest.approx((1 + 2) / 2)


def test_concentration_is_one_when_even_and_largest_when_all_tokens_agree() -> None:
    real = torch.tensor([[True] * 4])
    even = share_use([certain([[0, 1], [2, 3], [4, 5], [6, 7]])], TOP_K)
    agreed = share_use([certain([[0, 1]] * 4)], TOP_K)
    assert float(concentrate_use(even, real)) == pytest.approx(1)
    assert float(concentrate_use(agreed, real)) == pytest.approx(EXPERTS / TOP_K)
    one = torch.tensor([[True, False, False, False]])
    assert float(concentrate_use(even, one)) == pytest.approx(EXPERTS / TOP_K)


def test_gradients_draw_a_block_together_and_the_batch_apart() -> None:
    """Descent on the sum ends with blocks that agree and experts that are all used."""
    torch.manual_seed(0)
    logits = torch.randn(16, EXPERTS, requires_grad=True)
    real = torch.ones(4, 4, dtype=torch.bool)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        use = share_use([logits.sigmoid()], TOP_K)
        loss = spread_over_blocks(use, real, 4) + concentrate_use(use, real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    chosen = logits.topk(TOP_K, dim=-1).indices.sort(dim=-1).values.view(4, 4, TOP_K)
    assert all(len(torch.unique(block)) == TOP_K for block in chosen)
    assert len(torch.unique(chosen)) == EXPERTS


def test_locality_changes_the_weights_and_is_logged(recipe: Path, tmp_path: Path) -> None:
    train_recipe(recipe, tmp_path / "plain")
    recipe.write_text(recipe.read_text().replace("prompt_weight = 0.1", "locality = 0.5\nlocality_block = 4"))
    train_recipe(recipe, tmp_path / "local")
    rows = [line.split(",") for line in (tmp_path / "local" / "metrics.csv").read_text().splitlines()]
    column = rows[0].index("block_spread")
    spreads = [float(row[column]) for row in rows[1:] if row[column]]
    assert len(spreads) == 3  # of the first stage alone
    assert 1 <= spreads[-1] < spreads[0] < 4 / 2
    plain, local = (tmp_path / name / "checkpoint" / "model.safetensors" for name in ("plain", "local"))
    assert plain.read_bytes() != local.read_bytes()


def start_from(recipe: Path, checkpoint: str) -> Path:
    stages = recipe.read_text().split("[[stage]]")
    file = recipe.with_name("more.toml")
    last = stages[2].replace("steps = 5", "steps = 1").replace("learning_rate = 1e-3", "learning_rate = 1e-9")
    file.write_text(f'start = "{checkpoint}"\n{stages[0]}[[stage]]{last}weight_decay = 0.0\nbalance_rate = 0.0\n')
    return file


def test_start_goes_on_from_a_checkpoint(recipe: Path, tmp_path: Path) -> None:
    """A step that moves nothing leaves the checkpoint's weights and its tokenizer."""
    train_recipe(recipe, tmp_path / "first")
    train_recipe(start_from(recipe, "first/checkpoint"), tmp_path / "second")
    first, second = (tmp_path / name / "checkpoint" for name in ("first", "second"))
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    from mmoe_embed.checkpoint import load_checkpoint

    before, after = load_checkpoint(first).tensors, load_checkpoint(second).tensors
    assert all(abs(before[name] - after[name]).max() < 1e-6 for name in before)


def test_start_refuses_another_model(recipe: Path, tmp_path: Path) -> None:
    train_recipe(recipe, tmp_path / "first")
    file = start_from(recipe, "first/checkpoint")
    file.write_text(file.read_text().replace("num_experts = 4", "num_experts = 6"))
    with pytest.raises(ToolkitError, match="num_experts 4, here 6"):
        train_recipe(file, tmp_path / "second")
    file.write_text(file.read_text().replace('"first/checkpoint"', '"nowhere"'))
    with pytest.raises(ToolkitError, match="nowhere"):
        train_recipe(file, tmp_path / "third")
