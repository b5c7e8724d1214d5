"""The files that a subcommand is given by name; `-` is standard input."""

import sys
from pathlib import Path

STANDARD_INPUT = "-"


class UnreadableFileError(Exception):
    """The file cannot be opened or read; the text is one sentence with what to do."""


def read_file(name: str, limit: int) -> bytes:
    """Return at most *limit* bytes of the file. Does not say whether there are more."""
    try:
        if name == STANDARD_INPUT:
            if sys.stdin is None:
                raise UnreadableFileError("standard input is closed: pipe the file in, or name it")
            return sys.stdin.buffer.read(limit)
        with Path(name).open("rb") as file:
            return file.read(limit)
    except FileNotFoundError as error:
        raise UnreadableFileError("there is no such file: check the path") from error
    except IsADirectoryError as error:
        raise UnreadableFileError("this is a directory: name the files in it") from error
    except PermissionError as error:
        raise UnreadableFileError("this user may not read it: change its permissions, or run as its owner") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableFileError(f"it cannot be read ({error}): check the path") from error
