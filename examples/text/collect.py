"""Write data/stdlib.jsonl: the source files of this Python's standard library, its tests and site-packages left out."""

import json
import sysconfig
from pathlib import Path

SKIPPED = {"test", "tests", "idle_test", "site-packages", "lib2to3", "__pycache__", "_sysconfigdata"}


def main() -> None:
    """One JSON object with a `text` for each file, in the order of their names."""
    library = Path(sysconfig.get_path("stdlib"))
    output = Path(__file__).parent / "data" / "stdlib.jsonl"
    output.parent.mkdir(exist_ok=True)
    count = size = 0
    with output.open("w", encoding="utf-8") as stream:
        for file in sorted(library.rglob("*.py")):
            if SKIPPED & set(file.relative_to(library).parts):
                continue
            try:
                text = file.read_bytes().decode("utf-8")
            except UnicodeDecodeError:
                continue
            stream.write(json.dumps({"text": text}) + "\n")
            count, size = count + 1, size + len(text.encode())
    print(f"{output}: {count} files, {size:,} bytes")


if __name__ == "__main__":
    main()
