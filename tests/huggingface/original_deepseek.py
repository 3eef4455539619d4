"""DeepSeekMoE, which transformers does not have: its Llama with the experts of its DeepSeek-V2, which are the same."""

import json
from pathlib import Path
from typing import Any

import torch
from originals import Directory, finish_directory, logits_of, randomize
from safetensors.torch import save_file
from transformers import DeepseekV2Config, LlamaConfig, LlamaForCausalLM
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe


def write_deepseek(folder: Path, **settings: Any) -> Directory:
    """A tiny model, written as deepseek-moe-16b-base is."""
    config = {"model_type": "deepseek", "norm_topk_prob": False, "scoring_func": "softmax", "moe_layer_freq": 1}
    config |= {"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None, "hidden_act": "silu", **settings}
    shared = {k: v for k, v in settings.items() if k != "first_k_dense_replace" and "experts" not in k}
    llama = LlamaForCausalLM(LlamaConfig(rms_norm_eps=1e-6, **{k: v for k, v in shared.items() if "moe" not in k}))
    experts = DeepseekV2Config(**settings, topk_method="greedy", routed_scaling_factor=1.0)
    for layer in llama.model.layers[settings["first_k_dense_replace"] :]:
        layer.mlp = DeepseekV2Moe(experts)
    randomize(llama)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(_rename(llama.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    finish_directory(folder)
    return Directory(folder, lambda tokens: logits_of(llama, tokens))


def _rename(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One tensor a projection of an expert, as the files have it."""
    tensors = {}
    for name, tensor in state.items():
        if name.endswith("experts.gate_up_proj"):
            for expert, (gate, up) in enumerate(zip(*tensor.chunk(2, dim=1), strict=True)):
                at = name.replace("gate_up_proj", f"{expert}.")
                tensors |= {at + "gate_proj.weight": gate, at + "up_proj.weight": up}
        elif name.endswith("experts.down_proj"):
            at = name.removesuffix("down_proj")
            tensors |= {f"{at}{expert}.down_proj.weight": down for expert, down in enumerate(tensor)}
        else:
            tensors[name] = tensor
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
