"""Shared by all tests: random models, and where things are."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder beside the checkout; tests that need it skip by name where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--unexpected-skips=fail`: in CI everything is installed, so only skips that name an absent part pass."""
    parser.addoption("--unexpected-skips", choices=["allow", "fail"], default="allow")


# What a machine of ours may lack: a Zephyr tree, a real board, the shared data, instructions of another CPU, root.
EXPECTED_SKIPS = ("ZEPHYR_BASE", "no board", "no ../shared/data", "this CPU has no", "no right to mount")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Turn a skip that hides a missing part into a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--unexpected-skips") == "fail":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(expected in reason for expected in EXPECTED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"unexpected skip: {reason}"
