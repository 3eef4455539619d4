"""Checkpoints of other families as Hugging Face directories hold them: read into ours, and written back."""

from mmoe_embed.huggingface.exporter import export_checkpoint
from mmoe_embed.huggingface.importer import Imported, import_checkpoint

__all__ = ["Imported", "export_checkpoint", "import_checkpoint"]
