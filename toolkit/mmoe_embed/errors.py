"""Errors that are the user's to mend; anything else that escapes is a bug of ours."""


class ToolkitError(Exception):
    """A failure the user can mend.

    Args:
        message: what failed, with both numbers and their difference where there are numbers.
        at: where in the user's input, a file, a key or an operation.
        try_: what to do next, best a command.
    """

    exit_code = 1

    def __init__(self, message: str, *, at: str = "", try_: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.try_ = try_

    def __str__(self) -> str:
        lines = [self.message]
        if self.at:
            lines.append(f"  at: {self.at}")
        if self.try_:
            lines.append(f"  try: {self.try_}")
        return "\n".join(lines)


class UsageError(ToolkitError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = 2


class FitError(ToolkitError):
    """The model does not fit the board's memories."""

    exit_code = 3


class DeviceError(ToolkitError):
    """A board, a port, an emulator or a probe does not answer as it should."""

    exit_code = 4


class ToolchainError(ToolkitError):
    """A compiler, an emulator or another program is missing or failed."""

    exit_code = 5


class MismatchError(ToolkitError):
    """Two things that belong together differ: bits, build identities, versions."""

    exit_code = 6
