"""Data of the planner tests."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "planner"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of planner data, or a skip by name."""
    if not DATA.is_dir():
        pytest.skip(f"needs planner data in {DATA.name}/ beside the checkout (shared/data/planner)")
    return DATA
