"""A stand-in for the preprocessor functions that Zephyr gives Kconfig files, over the devicetree in MMOE_TEST_DTS."""

import os
from typing import Any

from devicetree import dtlib

_tree = dtlib.DT(os.environ["MMOE_TEST_DTS"])


def _node(path: str) -> Any:
    return _tree.get_node(path) if path else None


def _chosen_path(_kconf: Any, _name: str, chosen: str) -> str:
    props = _tree.get_node("/chosen").props
    return props[chosen].to_path().path if chosen in props else ""


def _chosen_enabled(kconf: Any, name: str, chosen: str) -> str:
    return "y" if _chosen_path(kconf, name, chosen) else "n"


def _parent(_kconf: Any, _name: str, path: str) -> str:
    node = _node(path)
    return node.parent.path if node is not None and node.parent is not None else ""


def _has_compat(_kconf: Any, _name: str, path: str, compat: str) -> str:
    node = _node(path)
    return (
        "y"
        if node is not None and "compatible" in node.props and compat in node.props["compatible"].to_strings()
        else "n"
    )


functions = {
    "dt_chosen_path": (_chosen_path, 1, 1),
    "dt_chosen_enabled": (_chosen_enabled, 1, 1),
    "dt_node_parent": (_parent, 1, 1),
    "dt_node_has_compat": (_has_compat, 2, 2),
}
