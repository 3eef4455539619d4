"""firmware/sources.toml for CMake: prints set() commands. Python's own library only: a build may run it anywhere.

usage: list_sources.py FEATURE...   what the core has: keys of [kernels]
"""

import sys
import tomllib
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parents[1]
KERNELS = FIRMWARE.parent / "kernels_cmsis"


def list_sources(features: list[str]) -> dict[str, list[Path | str]]:
    """Files and flags of the target `zephyr`, by the name of the CMake variable."""
    rules = tomllib.loads((FIRMWARE / "sources.toml").read_text())
    target = rules["target"]["zephyr"]
    chosen = [name for feature, names in rules["kernels"].items() if feature in features for name in names]
    folders = [KERNELS / name for name in (*chosen, "reference")]
    names = sorted(file.name for file in (KERNELS / "reference").glob("*.c"))
    kernels = [next(folder / name for folder in folders if (folder / name).is_file()) for name in names]
    of_the_model = _find([*rules["of_the_model"], *target["of_the_model"]])
    core = [file for file in _find(rules["always"]) if file not in of_the_model]
    return {
        "MMOE_SOURCES": [*core, *kernels, *_find(target["files"])],
        "MMOE_MODEL_SOURCES": list(of_the_model),
        "MMOE_MAPPED_SOURCES": _find(rules["storage"]["mapped"]["files"]),
        "MMOE_FLASH_MAP_SOURCES": _find(rules["storage"]["zephyr"]["files"]),
        "MMOE_INCLUDES": [*(FIRMWARE / path for path in (*rules["include"], *target["include"])), KERNELS / "include"],
        "MMOE_PRIVATE_INCLUDES": [FIRMWARE / "src", *folders],
        "MMOE_NUMERIC_FLAGS": rules["numeric_flags"],
    }


def _find(patterns: list[str]) -> list[Path]:
    return [file for pattern in patterns for file in sorted(FIRMWARE.glob(pattern))]


if __name__ == "__main__":
    for variable, values in list_sources(sys.argv[1:]).items():
        texts = (value.as_posix() if isinstance(value, Path) else value for value in values)
        print(f"set({variable}", *(f'"{text}"' for text in texts), ")")
