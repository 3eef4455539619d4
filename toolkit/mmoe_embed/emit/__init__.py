"""The model as C: const data, one line per operation, sizes the linker knows (SPEC.md 7)."""

from mmoe_embed.emit.writer import Emitted, emit_model

__all__ = ["Emitted", "emit_model"]
