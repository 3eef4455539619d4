"""Text files that a user gives."""

from pathlib import Path

from mmoe_embed.errors import ToolkitError


def read_text(file: Path) -> str:
    """The whole of a UTF-8 file, without the mark that some editors put before it.

    Raises:
        ToolkitError: no such file, a folder, or bytes that are no UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ToolkitError("there is no such file", at=str(file)) from None
    except IsADirectoryError:
        raise ToolkitError("this is a folder, a file is needed", at=str(file)) from None
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is 0x{error.object[error.start]:02x}"
        raise ToolkitError(f"not UTF-8 text: {found}", at=str(file)) from None
