"""Slow decoders that are easy to believe, for text that was accepted: what the fast ones return must be the same."""

import base64
import re
from collections.abc import Callable
from urllib.parse import unquote

from mtls_auth import codecs
from mtls_auth.evidence import Decoded, Statement

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----[ \t\r\n]*")
_BASE64 = re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|)")


def _base64(text: str) -> bytes:
    assert text
    assert _BASE64.fullmatch(text)
    return base64.b64decode(text)


def _blocks(text: str) -> tuple[bytes, ...]:
    assert not _BLOCK.sub("", text), "there is more than blocks"
    return tuple(_base64(re.sub(r"[ \t\r\n]", "", body)) for body in _BLOCK.findall(text))


def _block(text: str) -> bytes:
    (der,) = _blocks(text)
    return der


def _folded(text: str) -> bytes:
    return _block(text.replace("\\n", ""))


def _base64_der(text: str) -> bytes:
    return _base64(text[1:-1] if text.startswith('"') else text)


def _byte_sequence(text: str) -> bytes:
    body = text.removeprefix(":").removesuffix(":")
    assert f":{body}:" == text
    return _base64(body + "=" * (-len(body) % 4))


def _fingerprint(text: str) -> Statement:
    between = ":" if ":" in text else ""
    pairs = re.findall(r"[0-9A-Fa-f]{2}", text)
    assert between.join(pairs) == text
    return Statement(fingerprint="".join(pairs).lower())


REFERENCE: dict[Callable[[str], Decoded], Callable[[str], Decoded]] = {
    codecs.escaped_pem: lambda text: _block(unquote(text)),
    codecs.pem: _block,
    codecs.escaped_pem_list: lambda text: _blocks(unquote(text)),
    codecs.folded_pem: _folded,
    codecs.escaped_or_folded_pem: lambda text: _block(unquote(text)) if "%" in text else _folded(text),
    codecs.base64_der: _base64_der,
    codecs.base64_list: lambda text: tuple(map(_base64, unquote(text).split(","))),
    codecs.base64_pem: lambda text: _block(_base64_der(text).decode()),
    codecs.fingerprint: _fingerprint,
    codecs.client_name: lambda text: Statement(name=text),
    codecs.byte_sequence: _byte_sequence,
    codecs.byte_sequence_list: lambda text: tuple(_byte_sequence(part.strip(" \t")) for part in text.split(",")),
}


def pieces_of(text: str, pieces: tuple[bytes, ...]) -> bool:
    """Whether these are complete SEQUENCEs, one after the other, and nothing else was in the base64."""
    return b"".join(pieces) == _base64_der(text) and all(map(_is_complete, pieces))


def _is_complete(der: bytes) -> bool:
    octets = der[1] & 0x7F if der[1] >= 0x80 else 0
    length = int.from_bytes(der[2 : 2 + octets], "big") if octets else der[1]
    return der[0] == 0x30 and der[1] != 0x80 and octets <= 3 and len(der) == 2 + octets + length


def xfcc_pairs(text: str) -> list[list[tuple[str, str]]] | None:
    """Read XFCC one character after the other; None if it is not of the grammar. Counts nothing."""
    text = text.strip(" \t")
    if not text:
        return []
    if any(not " " <= character <= "~" for character in text):
        return None
    elements: list[list[tuple[str, str]]] = [[]]
    key, value, state = "", "", "key"
    for character in text.removesuffix(";") + "\n":
        if state == "quoted" and character == "\\":
            value, state = value + character, "escaped"
        elif state == "escaped":
            value, state = value + character, "quoted"
        elif state == "quoted" and character == '"':
            state = "closed"
        elif state == "quoted":
            value += character
        elif state == "start" and character == '"':
            state = "quoted"
        elif state == "key" and character == "=":
            state = "start"
        elif state in {"start", "plain", "closed"} and character in ",;\n":
            elements[-1].append((key.lstrip(" ").lower(), value))
            elements += [[]] if character == "," else []
            key, value, state = "", "", "key"
        elif state == "key":
            key += character
        elif state in {"start", "plain"} and character != '"':
            value, state = value + character, "plain"
        else:
            return None
    names = [name for element in elements for name, _value in element]
    well_named = all(name[:1].isalpha() and name.replace("-", "").replace("_", "").isalnum() for name in names)
    return elements if not key and state == "key" and well_named else None
