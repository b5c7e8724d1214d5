"""Text of strangers on a terminal: names out of certificates, headers and file names."""

import sys


def printable(text: str) -> str:
    r"""Return *text* with everything escaped (`\x1b`) that is invisible or that standard output cannot encode.

    For people: a backslash is left as it is, so the result cannot be read back.
    """
    visible = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    encoding = sys.stdout.encoding or "utf-8"
    return visible.encode(encoding, "backslashreplace").decode(encoding)
