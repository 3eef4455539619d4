"""The one-page report of a validation."""

from mmoe_embed.report.page import render_page

__all__ = ["render_page"]
