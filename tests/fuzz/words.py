"""The inputs of the targets: an octet below 128 is that character, one above a word that chance would not find."""

import re

WORDS = [
    *("-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----", "-----"),
    *("-----BEGIN%20CERTIFICATE-----%0A", "%0A-----END%20CERTIFICATE-----%0A", "-----END CERTIFICATE-----", "%0a"),
    *("%0A", "%0D", "%20", "%2B", "%2b", "%2F", "%3D", "%25", "%2C", "%%", "%00", "%E9", "\\n", "==", "YWJj", "MAA="),
    *(
        "30\x00",
        "MIIB",
        "Hash=",
        ";Hash=",
        ",Hash=",
        'Cert="',
        'Chain="',
        'Subject="',
        "URI=",
        "DNS=",
        "By=",
        '";',
        '",',
    ),
    *(
        '\\"',
        "\\\\",
        '""',
        "spiffe://",
        "a.example",
        ":,:",
        ", ",
        "é",
        "\xa0",
        "\x85",
        "\x1f",
        "(null)",
        "0123456789abcdef",
    ),
]
FIRST = 0x80


def text_of(data: bytes) -> str:
    """Return the text that an input stands for."""
    return "".join(chr(octet) if octet < FIRST else WORDS[(octet - FIRST) % len(WORDS)] for octet in data)


def input_of(text: str) -> bytes:
    """Return an input for a text, in as long words as there are; one "é" stands for all that is not ASCII."""
    return bytes(map(_octet, _WORD.findall(text)))


_WORD = re.compile("|".join([*map(re.escape, sorted(WORDS, key=len, reverse=True)), "."]), re.DOTALL)


def _octet(word: str) -> int:
    if word in WORDS:
        return FIRST + WORDS.index(word)
    return ord(word) if ord(word) < FIRST else _octet("é")
