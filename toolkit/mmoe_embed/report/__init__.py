"""The one-page report of a validation."""

from mmoe_embed.report.page import Run, render_page

__all__ = ["Run", "render_page"]
