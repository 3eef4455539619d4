"""The PyTorch model computes what the golden computes, up to quantization."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (the train extra)")

from random_model import OTHER_FAMILIES, small_config, write_checkpoint

from mmoe_embed.checkpoint import load_checkpoint, tensor_shapes
from mmoe_embed.config import ModelConfig
from mmoe_embed.golden import Golden
from mmoe_embed.model import MoeModel
from mmoe_embed.quantize import quantize_checkpoint

pytestmark = pytest.mark.torch

SHAPES = {
    "as shipped": {},
    "dense": {"num_experts": 0, "num_experts_per_tok": 0, "moe_intermediate_size": 0},
    "no shared expert": {"shared_expert_intermediate_size": 0},
    "every expert chosen": {"num_experts": 3, "num_experts_per_tok": 3},
    "no head norm, as many keys as queries": {"qk_norm": False, "num_key_value_heads": 2},
    "odd sizes": {"hidden_size": 45, "moe_intermediate_size": 7, "shared_expert_intermediate_size": 33, "head_dim": 6},
    **OTHER_FAMILIES,
}


def _run_golden(folder: Path, scheme: str, tokens: list[int]) -> np.ndarray:
    golden = Golden(quantize_checkpoint(load_checkpoint(folder), scheme))
    return np.stack([golden.step(t) for t in tokens])


def _run_torch(folder: Path, scheme: str | None, tokens: list[int]) -> np.ndarray:
    checkpoint = load_checkpoint(folder)
    model = MoeModel(checkpoint.config)
    model.load_numpy(checkpoint.tensors)
    with torch.no_grad():
        logits, _ = model(torch.tensor([tokens]), scheme=scheme)
    return np.asarray(logits[0].numpy())


def _relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Median over steps of the error's size relative to the logits': a single flipped expert does not decide it."""
    return float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_forward_agrees_with_the_golden(tmp_path: Path, changes: dict[str, object]) -> None:
    folder = write_checkpoint(tmp_path, small_config(**changes), seed=5)
    tokens = np.random.default_rng(0).integers(3, 300, 40).tolist()
    plain = _run_torch(folder, None, tokens)
    for scheme, quantization_error, agreement in (("int8", 0.06, 0.02), ("int4", 0.6, 0.02)):
        exact = _run_golden(folder, scheme, tokens)
        assert _relative_error(plain, exact) < quantization_error
        assert _relative_error(_run_torch(folder, scheme, tokens), exact) < agreement


@pytest.mark.parametrize("changes", [{}, *OTHER_FAMILIES.values()])
def test_state_dict_has_the_checkpoints_names_and_shapes(changes: dict[str, object]) -> None:
    config = small_config(**changes)
    found = {name: tuple(t.shape) for name, t in MoeModel(config).state_dict().items()}
    assert found == tensor_shapes(config)


def test_padding_changes_nothing_before_it() -> None:
    torch.manual_seed(0)
    model = MoeModel(small_config())
    tokens = torch.randint(3, 300, (2, 20))
    padded = torch.cat([tokens, torch.full((2, 7), 2)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(model(padded)[0][:, :20], model(tokens)[0], rtol=1e-5, atol=1e-5)


def _config() -> ModelConfig:
    return small_config(num_experts=4, num_experts_per_tok=2)


def test_balance_moves_biases_towards_idle_experts() -> None:
    model = MoeModel(_config())
    model.balance(torch.tensor([[10, 0, 5, 5], [5, 5, 5, 5]]), 0.1)
    state = model.state_dict()
    torch.testing.assert_close(state["layers.0.moe.router.bias"], torch.tensor([-0.1, 0.1, 0.0, 0.0]))
    torch.testing.assert_close(state["layers.1.moe.router.bias"], torch.zeros(4))


def test_bias_chooses_and_does_nothing_else() -> None:
    torch.manual_seed(1)
    router = MoeModel(_config()).layers[0].moe.router
    n = torch.randn(9, 32)
    router.bias[2] = 10.0
    chosen, gates, logits = router(n)
    assert (chosen == 2).any(dim=1).all()
    scores = logits.sigmoid().gather(1, chosen)
    torch.testing.assert_close(gates, scores / scores.sum(dim=1, keepdim=True) * 2.5)


def test_report_counts_real_tokens_only() -> None:
    model = MoeModel(_config())
    counted = torch.zeros(2, 8, dtype=torch.bool)
    counted[0, :5] = True
    _, report = model(torch.randint(0, 300, (2, 8)), counted=counted)
    assert report.load.sum(dim=1).tolist() == [10, 10]
