"""Reading another family's config.json key by key: what is used, what does not matter, and what is missing here."""

import dataclasses
from typing import Any

from mmoe_embed.config import MAX_CONTEXT

# Keys that change nothing about inference
_IGNORED = frozenset(
    """
    _attn_implementation _name_or_path architectures attention_dropout auto_map aux_loss_alpha bos_token_id
    chunk_size_feed_forward dtype embedding_dropout eos_token_id ep_size hidden_dropout id2label initializer_range
    label2id max_window_layers model_type output_attentions output_hidden_states output_router_logits pad_token_id
    pretraining_tp problem_type resid_pdrop return_dict router_aux_loss_coef router_jitter_noise router_z_loss_coef
    seq_aux tokenizer_class torch_dtype transformers_version use_cache
    """.split()  # noqa: SIM905 (a list would be a page)
)
_ABSENT: tuple[Any, ...] = (None, False, 0, 0.0, "", [], {})  # a key that says no more than this asks for nothing

# What keys of families that are not known ask for
_FEATURES = {
    "kv_lora_rank": "multi-head latent attention",
    "sliding_window": "sliding-window attention",
    "n_group": "routing limited to groups of experts",
    "attn_logit_softcapping": "capped attention scores",
    "final_logit_softcapping": "capped logits",
    "layer_types": "layers of several kinds",
    "linear_num_key_heads": "linear attention",
    "mamba_d_state": "state-space layers",
    "conv_L_cache": "convolutions between tokens",
    "embedding_multiplier": "scaled embeddings",
    "logits_scaling": "scaled logits",
    "num_nextn_predict_layers": "prediction of several tokens",
    "partial_rotary_factor": "rotary on a part of each head",
    "swiglu_limit": "a clipped SwiGLU",
    "vision_config": "images",
    "audio_config": "sound",
}


@dataclasses.dataclass
class Keys:
    """A config.json that is being read.

    Attributes:
        values: all of it.
        context: positions to import; None is as many as the model and our limit allow.
        missing: what the model needs and this project has not, a line each.
        notes: what the user should know.
    """

    values: dict[str, Any]
    context: int | None = None
    missing: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    _used: set[str] = dataclasses.field(default_factory=set)

    def take(self, *names: str, default: Any = None) -> Any:
        """The first of these keys that the config has, and says something with; the default without any."""
        self._used.update(names)
        found = [self.values[name] for name in names if self.values.get(name) is not None]
        return found[0] if found else default

    def number(self, *names: str) -> int:
        """A whole number that must be there; 0 and a missing key where it is not."""
        value = self.take(*names)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.lack(f"key {names[0]}, a whole number" + (f" (it is {value!r})" if value is not None else ""))
        return 0

    def lack(self, what: str) -> None:
        """Note something that is missing, once."""
        if what not in self.missing:
            self.missing.append(what)

    def refuse(self, name: str, supported: Any, feature: str) -> None:
        """A key of which one value only is supported, which is also what its absence means."""
        value = self.take(name, default=supported)
        if value != supported:
            self.lack(f"{feature} ({name} is {value!r}, supported is {supported!r})")

    def refuse_other_layers(self, name: str, supported: Any, feature: str) -> None:
        """A list with an entry a layer, of which one value only is supported."""
        others = sorted({repr(entry) for entry in self.take(name, default=[]) if entry != supported})
        if others:
            self.lack(f"{feature} ({name} has {', '.join(others)}, supported is {supported!r})")

    def take_context(self) -> int:
        """Positions of the imported model."""
        trained = self.number("max_position_embeddings")
        context = min(trained, MAX_CONTEXT) if self.context is None else self.context
        if context > trained > 0:
            self.lack(f"positions beyond the {trained} that the model has (--context is {context})")
        if context < trained:
            self.notes.append(f"context {context} of the model's {trained} positions")
        return context

    def refuse_window(self, window: int | None) -> None:
        """Attention within a window, which is full attention only where the context is no longer."""
        context = self.context if self.context is not None else min(self.number("max_position_embeddings"), MAX_CONTEXT)
        if window and window < context:
            self.lack(f"attention within a window of {window} positions (--context {window} does without)")

    def lack_unread(self, ignored: tuple[str, ...] = ()) -> None:
        """Everything that nobody has asked for and that says something is missing."""
        for name in sorted(self.values.keys() - self._used - _IGNORED - set(ignored)):
            value = self.values[name]
            if value not in _ABSENT:
                shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:56]}..."
                self.lack(f"key {name}, which is {shown} (--ignore {name} where it does not matter)")

    def lack_features(self) -> None:
        """What the keys of a family that is not known ask for."""
        for name, feature in _FEATURES.items():
            value = self.values.get(name)
            if value not in (*_ABSENT, 1, 1.0):
                self.lack(f"{feature} (key {name})")
