"""Recipes as TOML text, for `mmoe-embed train`."""

import json
from collections.abc import Mapping
from typing import Any


def write_toml(table: Mapping[str, Any]) -> str:
    """Tables of a recipe as TOML: what has no table of its own first, then [tables] and [[lists of tables]]."""
    plain = {key: value for key, value in table.items() if not _is_table(value)}
    lines = _pairs(plain)
    for key, value in table.items():
        if _is_table(value):
            for entry in value if isinstance(value, list) else [value]:
                lines += ["", f"[[{key}]]" if isinstance(value, list) else f"[{key}]", *_pairs(entry)]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_value(str(key))} = {_value(entry)}" for key, entry in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # TOML's basic strings take what JSON's do, but for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
