"""Certificates as proxies write them into headers."""

import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1, sha256
from typing import TypeAlias
from urllib.parse import quote

from cryptography import x509

from mtls_auth import codecs
from mtls_auth.dialect import Dialect, Verdict
from mtls_auth.errors import ConfigurationError
from mtls_auth.xfcc import XFCC

Encode: TypeAlias = Callable[[Sequence[bytes]], str]


def headers_for(dialect: Dialect, leaf: bytes, *chain: bytes) -> list[tuple[str, str]]:
    """Return the headers in which the dialect's terminator forwards a certificate that it verified, the leaf's first.

    All in DER; *chain* are the issuers, nearest first, of which many terminators forward none. Where the certificate
    has no name of the kind that a mesh forwards, there is no header. Raises `ConfigurationError` for a dialect whose
    decoder is not one of this package's.
    """
    text = _encoder(dialect, dialect.decode)((leaf, *chain))
    if not text:
        return []
    headers = [(dialect.leaf, text)]
    headers += [(verdict.header, _success(verdict)) for verdict in dialect.verdicts]
    if dialect.fingerprint is not None:
        headers.append((dialect.fingerprint, sha256(leaf).hexdigest()))
    if chain and dialect.decode_chain is not None:
        encode = _encoder(dialect, dialect.decode_chain)
        # One certificate in each numbered header, or all of them in the only one.
        parts = [[der] for der in chain] if dialect.numbered_chain else [list(chain)]
        headers += [(name, encode(part)) for name, part in zip(dialect.chain_headers, parts, strict=False)]
    return headers


def escaped_pem(der: bytes) -> str:
    """Return what nginx's $ssl_client_escaped_cert holds: PEM with its last newline, percent-encoded."""
    return quote(ssl.DER_cert_to_PEM_cert(der), safe="")


def client_cert_field(der: bytes) -> str:
    """Return the Client-Cert field value of RFC 9440 §2.2: base64 of the DER between colons."""
    return f":{_base64(der)}:"


def xfcc_element(decoder: XFCC, chain: Sequence[bytes]) -> str:
    """Return the X-Forwarded-Client-Cert of a proxy that sends what *decoder* takes, and nearer ones' elements."""
    digest = f"Hash={sha256(chain[0]).hexdigest()}"
    fields = decoder.fields or frozenset({"cert", "chain", "uri"})
    if decoder.take == "uri":
        names = _san(chain[0], x509.UniformResourceIdentifier)
        if not names:
            return ""
        pairs = [f"URI={name}" for name in names]
    else:
        pairs = [f'Cert="{escaped_pem(chain[0])}"'] if "cert" in fields else []
        # Chain begins with the leaf, and says no more than Cert where there are no issuers.
        if "chain" in fields and (len(chain) > 1 or not pairs):
            pairs.append(f'Chain="{_escaped_pems(chain)}"')
    return ",".join([";".join([digest, *pairs]), *[digest] * (decoder.hops - 1)])


def _success(verdict: Verdict) -> str:
    # Where several values are believed, vendors document the word.
    return min(verdict.success, key=lambda value: (value != "true", value))


def _encoder(dialect: Dialect, decode: Callable[[str], object]) -> Encode:
    if isinstance(decode, XFCC):
        return lambda chain: xfcc_element(decode, chain)
    if decode not in _ENCODERS:
        raise ConfigurationError(f"dialect {dialect.name} has a decoder of its own: write its headers by hand")
    return _ENCODERS[decode]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _folded_pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der).strip().replace("\n", " ")


def _escaped_pems(chain: Sequence[bytes]) -> str:
    return "".join(map(escaped_pem, chain))


def _mesh_name(der: bytes) -> str:
    return next(iter([*_san(der, x509.UniformResourceIdentifier), *_san(der, x509.DNSName)]), "")


def _san(der: bytes, kind: type[x509.UniformResourceIdentifier] | type[x509.DNSName]) -> list[str]:
    try:
        found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(kind)


_ENCODERS: Mapping[Callable[[str], object], Encode] = {
    codecs.escaped_pem: lambda chain: escaped_pem(chain[0]),
    codecs.escaped_or_folded_pem: lambda chain: escaped_pem(chain[0]),
    codecs.escaped_pem_list: _escaped_pems,
    codecs.folded_pem: lambda chain: _folded_pem(chain[0]),
    codecs.base64_der: lambda chain: _base64(chain[0]),
    codecs.base64_der_list: lambda chain: _base64(b"".join(chain)),
    codecs.base64_list: lambda chain: ",".join(map(_base64, chain)),
    codecs.base64_pem: lambda chain: _base64(ssl.DER_cert_to_PEM_cert(chain[0]).encode()),
    codecs.byte_sequence: lambda chain: client_cert_field(chain[0]),
    codecs.byte_sequence_list: lambda chain: ", ".join(map(client_cert_field, chain)),
    codecs.fingerprint: lambda chain: sha1(chain[0], usedforsecurity=False).hexdigest(),
    codecs.client_name: lambda chain: _mesh_name(chain[0]),
}
