"""An imported model of every family, quantized, has the golden's bits in the C runtime."""

from pathlib import Path

import pytest
from originals import FAMILIES, VOCABULARY, write_directory

from mmoe_embed.board import load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.golden import Golden
from mmoe_embed.huggingface import import_checkpoint
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.validate import Prompt, compare_steps, prefill_matches

# the parts that these are made of are in the models that tests/bits draws too
SLOW = [
    pytest.param(family, scheme, marks=pytest.mark.slow)
    for family, scheme in zip(FAMILIES, ["int8", "int4"] * 4, strict=False)
    if family not in ("qwen2_moe", "dots1")
]
TOKENS = tuple((7 * i + 3) % VOCABULARY for i in range(30))


@pytest.mark.gcc
@pytest.mark.torch
@pytest.mark.parametrize(("family", "scheme"), [("qwen2_moe", "int4"), ("dots1", "int8"), *SLOW])
def test_imported_model_has_the_golden_bits(tmp_path: Path, family: str, scheme: str) -> None:
    original = write_directory(tmp_path / "theirs", family)
    import_checkpoint(original.folder, tmp_path / "ours")
    request = BuildRequest(tmp_path / "ours", "host_x86_64", tmp_path / "build", scheme, PlanRequest(3))
    build = build_firmware(request)
    with connect_board(load_board(build.board), build) as client:
        golden = Golden(load_quantized(build.quantized))
        comparison = compare_steps(client, golden, [Prompt(TOKENS, len(TOKENS))])
        assert comparison.first_difference is None
        assert comparison.equal_logits == comparison.equal_routes == len(TOKENS)
        assert prefill_matches(client, TOKENS, comparison.golden_crcs[0], 7)
