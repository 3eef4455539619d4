"""A model of MobileMoE-S's shape, 1.3 billion random weights, is imported, quantized and written back in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_model import train_tokenizer

from mmoe_embed.build_folder import file_sha256
from mmoe_embed.tensors import TensorKind, create_tensors, header_bytes

LAYERS, D, HEADS, KEYS, EXPERTS, WIDTH, VOCABULARY = 20, 768, 12, 4, 60, 384, 128_256
MOST_BYTES = 1_000_000_000  # a third of what is asked for

CONFIG = {
    "model_type": "mobilemoe",
    "vocab_size": VOCABULARY,
    "hidden_size": D,
    "intermediate_size": WIDTH,
    "intermediate_size_mlp": 4 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEYS,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 16,
        "original_max_position_embeddings": 8192,
        "low_freq_factor": 1.0,
        "high_freq_factor": 1.0,
    },
    "num_local_experts": EXPERTS,
    "num_experts_per_tok": 4,
    "use_qk_norm": True,
    "tie_word_embeddings": True,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "eos_token_id": [2],
}
# what a verb is, with the largest memory that it ever had on stderr
RUN = """
import resource, sys
from mmoe_embed.cli import main
try:
    main(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def list_tensors() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the float layout."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, D), "model.norm.weight": (D,)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes |= {at + "input_layernorm.weight": (D,), at + "post_attention_layernorm.weight": (D,)}
        for x, heads in (("q", HEADS), ("k", KEYS), ("v", KEYS)):
            shapes[f"{at}self_attn.{x}_proj.weight"] = (64 * heads, D)
        shapes |= {
            at + "self_attn.o_proj.weight": (D, 64 * HEADS),
            at + "feed_forward.router.weight": (EXPERTS, D),
            at + "feed_forward.expert_bias": (EXPERTS,),
            at + "feed_forward.experts.gate_up_proj": (EXPERTS, D, 2 * WIDTH),
            at + "feed_forward.experts.down_proj": (EXPERTS, WIDTH, D),
            at + "feed_forward.shared_expert.gate_proj.weight": (4 * WIDTH, D),
            at + "feed_forward.shared_expert.up_proj.weight": (4 * WIDTH, D),
            at + "feed_forward.shared_expert.down_proj.weight": (D, 4 * WIDTH),
        }
    return shapes


def write_model(folder: Path) -> int:
    """Random bfloat16 of either sign around 1/64; returns how many."""
    folder.mkdir()
    kinds = {name: TensorKind("BF16", shape) for name, shape in list_tensors().items()}
    random = np.random.default_rng(0)
    with create_tensors(folder / "model.safetensors", header_bytes(kinds, {"format": "pt"})) as target:
        for name, kind in kinds.items():
            bits = np.frombuffer(random.bytes(kind.size_bytes), np.uint16) & 0x80FF | 0x3C00
            target.array(name, writable=True)[...] = bits.reshape(kind.shape)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(train_tokenizer(300).to_str())
    return sum(kind.size_bytes // 2 for kind in kinds.values())


def run_verb(*arguments: str) -> tuple[dict[str, object], int]:
    """(its data, bytes it had at most)."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, "--json"], capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"], 1024 * int(done.stderr.split("peak ")[1].split()[0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_model_of_1_3_billion_weights_fits_in_little_memory(tmp_path: Path) -> None:
    folder, ours, back = tmp_path / "theirs", tmp_path / "ours", tmp_path / "back"
    assert write_model(folder) == 1_263_373_056 + LAYERS * EXPERTS
    data, peak = run_verb("import", str(folder), "-o", str(ours))
    assert data["parameters"] == 1_263_373_056 + LAYERS * EXPERTS
    print(f"import: {peak / 1e6:.0f} MB")
    assert peak < MOST_BYTES
    data, peak = run_verb("quantize", str(ours), "--scheme", "int4", "-o", str(tmp_path / "int4.safetensors"))
    print(f"quantize: {peak / 1e6:.0f} MB")
    assert peak < MOST_BYTES
    assert data["model_id"] == file_sha256(tmp_path / "int4.safetensors")
    _, peak = run_verb("export-checkpoint", str(ours), "-o", str(back))
    print(f"export-checkpoint: {peak / 1e6:.0f} MB")
    assert peak < MOST_BYTES
    assert file_sha256(back / "model.safetensors") == file_sha256(folder / "model.safetensors")
