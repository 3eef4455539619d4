"""llama.cpp as a peer: a random GGUF of our model's shape, and its speed by llama-cpp-python.

    python scripts/peers/llama_cpp_peer.py write CHECKPOINT OUT.gguf      (needs the package gguf)
    python scripts/peers/llama_cpp_peer.py run OUT.gguf      (needs llama-cpp-python; prints one JSON object)

The architecture is qwen2moe, the nearest that llama.cpp has: routed experts, a shared one, grouped-query attention. It
differs in what costs next to nothing: scores are a softmax, the shared expert has a gate, q and k have no norm.

LLAMA_CPP_LIB_PATH names a folder of libraries to take in place of those that llama-cpp-python was installed with; they
must be of the same version of llama.cpp.
"""

import argparse
import ctypes
import importlib.metadata
import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ARCHITECTURE = "qwen2moe"
BLOCK = 32  # weights that share a scale, in Q4_0 and Q8_0


def write(checkpoint: Path, output: Path) -> None:
    """Write a GGUF of the checkpoint's shape with random weights: Q4_0; embedding and head Q8_0, router float32."""
    import gguf

    config = json.loads((checkpoint / "config.json").read_text())
    hidden, head, heads = config["hidden_size"], config["head_dim"], config["num_attention_heads"]
    keys, experts = config["num_key_value_heads"] * head, config["num_experts"]
    expert, shared = config["moe_intermediate_size"], config["shared_expert_intermediate_size"]
    source = np.random.default_rng(0)
    writer = gguf.GGUFWriter(output, ARCHITECTURE)
    _add_shape(writer, config)

    def add_float(name: str, *shape: int, value: float | None = None) -> None:
        weights = source.standard_normal(shape) / math.sqrt(shape[-1]) if value is None else np.full(shape, value)
        writer.add_tensor(name, weights.astype(np.float32))

    def add_blocks(name: str, *shape: int, bits: int = 4) -> None:
        spread = math.sqrt((4**bits - 1) / 12)  # of the integers, so that activations keep their size
        scale = np.float16(1 / spread / math.sqrt(shape[-1]))
        size = 2 + BLOCK * bits // 8
        blocks = np.frombuffer(source.bytes(math.prod(shape) // BLOCK * size), np.uint8).reshape(-1, size).copy()
        blocks[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
        kind = gguf.GGMLQuantizationType.Q4_0 if bits == 4 else gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, blocks.reshape(*shape[:-1], shape[-1] // BLOCK * size), raw_dtype=kind)

    for name in ("token_embd", "output"):  # not tied: of the embedding one row is read a token
        add_blocks(f"{name}.weight", config["vocab_size"], hidden, bits=8)
    add_float("output_norm.weight", hidden, value=1.0)
    for layer in range(config["num_hidden_layers"]):
        at = f"blk.{layer}."
        add_float(at + "attn_norm.weight", hidden, value=1.0)
        add_blocks(at + "attn_q.weight", heads * head, hidden)
        add_blocks(at + "attn_k.weight", keys, hidden)
        add_blocks(at + "attn_v.weight", keys, hidden)
        add_blocks(at + "attn_output.weight", hidden, heads * head)
        add_float(at + "ffn_norm.weight", hidden, value=1.0)
        add_float(at + "ffn_gate_inp.weight", experts, hidden)
        add_float(at + "ffn_gate_inp_shexp.weight", hidden)
        for part, width, several in (("exps", expert, (experts,)), ("shexp", shared, ())):
            add_blocks(f"{at}ffn_gate_{part}.weight", *several, width, hidden)
            add_blocks(f"{at}ffn_up_{part}.weight", *several, width, hidden)
            add_blocks(f"{at}ffn_down_{part}.weight", *several, hidden, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: Any, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["shared_expert_intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config["vocab_size"])


def run(model: Path, threads: int, prefill: int, contexts: list[int], decoded: int, cache: str) -> dict[str, Any]:
    """Nanoseconds of a token: of a prompt, and decoded at each context; in the order of our own bench.

    Args:
        model: the GGUF.
        threads: of prompts and of decoding.
        prefill: tokens of the prompt.
        contexts: tokens in the KV cache before each run of decoded tokens; rising.
        decoded: tokens of such a run.
        cache: "f16", or "q8_0" with flash attention.
    """
    import llama_cpp

    _load_processors()
    llama_cpp.llama_backend_init()
    llama = llama_cpp.llama_model_load_from_file(str(model).encode(), llama_cpp.llama_model_default_params())
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = max(contexts) + decoded + prefill
    options.n_batch = options.n_ubatch = max(512, prefill)
    options.n_threads = options.n_threads_batch = threads
    if cache == "q8_0":
        options.type_k = options.type_v = llama_cpp.GGML_TYPE_Q8_0
        options.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    context = llama_cpp.llama_init_from_model(llama, options)
    if not llama or not context:
        raise SystemExit(f"llama.cpp cannot run {model}")
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(llama))
    source = random.Random(0)

    def feed(count: int) -> int:
        tokens = (llama_cpp.llama_token * count)(*(source.randrange(vocabulary) for _ in range(count)))
        started = time.perf_counter_ns()
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count)):
            raise SystemExit("llama_decode failed")
        llama_cpp.llama_synchronize(context)
        return time.perf_counter_ns() - started

    def clear() -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)

    speed = measure(feed, clear, prefill, contexts, decoded)
    info = llama_cpp.llama_print_system_info().decode()
    return {"version": find_version("llama_cpp_python", llama_cpp.__version__), "system": info} | speed


def _load_processors() -> None:
    """Of libraries that were built for many processors, the part that fits this one best."""
    folder = os.environ.get("LLAMA_CPP_LIB_PATH")
    if folder and list(Path(folder).glob("libggml-cpu-*.so")):
        ctypes.CDLL(str(Path(folder) / "libggml.so")).ggml_backend_load_all_from_path(folder.encode())


def measure(
    feed: Callable[[int], int], clear: Callable[[], None], prefill: int, contexts: list[int], decoded: int
) -> dict[str, Any]:
    """The order of `bench phone`: warm, a prompt, then runs of decoded tokens."""
    feed(min(16, prefill))
    clear()
    prefill_ns, position, decode_ns = feed(prefill) / prefill, prefill, []
    for context in contexts:
        if context < position:
            clear()
            position = 0
        while position < context:
            count = min(prefill, context - position)
            feed(count)
            position += count
        decode_ns.append(sum(feed(1) for _ in range(decoded)) / decoded)
        position += decoded
    return {"prefill_ns": prefill_ns, "decode_ns": decode_ns}


def find_version(package: str, fallback: str) -> str:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return fallback


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    writing = verbs.add_parser("write")
    writing.add_argument("checkpoint", type=Path)
    writing.add_argument("output", type=Path)
    running = verbs.add_parser("run")
    running.add_argument("model", type=Path)
    running.add_argument("--threads", type=int, default=2)
    running.add_argument("--prefill", type=int, default=256)
    running.add_argument("--context", type=int, nargs="+", default=[256, 1024])
    running.add_argument("--tokens", type=int, default=16)
    running.add_argument("--cache", choices=("f16", "q8_0"), default="f16")
    a = parser.parse_args()
    if a.verb == "write":
        write(a.checkpoint, a.output)
    else:
        print(json.dumps(run(a.model, a.threads, a.prefill, a.context, a.tokens, a.cache)))


if __name__ == "__main__":
    main()
