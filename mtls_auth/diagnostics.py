"""An endpoint that says whom the application believes a request to be from: what `mtls-auth probe` asks.

Off unless it is given to a middleware. It answers before the application, denials too, and only to whoever knows the
token: to everybody else the path is the application's. It shows names and fingerprints, never a header's value.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from mtls_auth.connection import Connection
from mtls_auth.decision import Anonymous, Authenticated, Decision, Denied
from mtls_auth.errors import CertificateRejected, ConfigurationError
from mtls_auth.evidence import Evidence, Statement
from mtls_auth.forwarded import Forwarded
from mtls_auth.sources import AgreeingSources, Source

DEFAULT_PATH = "/.well-known/mtls-auth"
MIN_CHARACTERS = 32
"""A token is no shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """The token that opens the endpoint, and its path. Raises `ConfigurationError` for one that can be guessed.

    The token is a credential: take it out of the configuration when the probe is done. Behind mod_wsgi it arrives
    only with `WSGIPassAuthorization On`.
    """

    token: str = field(repr=False)
    path: str = DEFAULT_PATH

    def __post_init__(self) -> None:
        token, path = self.token, self.path
        problems = []
        if not isinstance(token, str) or len(token) < MIN_CHARACTERS or len(set(token)) < MIN_CHARACTERS // 4:
            problems.append(
                f"the diagnostics token has fewer than {MIN_CHARACTERS} random characters: take openssl rand -hex 32"
            )
        elif not token.isascii() or not token.isprintable() or set(' ",') & set(token):
            problems.append("the diagnostics token has characters that no header carries: take openssl rand -hex 32")
        if not isinstance(path, str) or not path.startswith("/") or set("?#% ") & set(path) or not path.isascii():
            problems.append(f"the diagnostics path {path!r}: begin with a slash, and write no query and no escapes")
        if problems:
            raise ConfigurationError(*problems)

    def asked(self, path: str, authorization: str) -> bool:
        """Whether a request to *path* with this Authorization field is the endpoint's. RFC 6750 §2.1."""
        if path != self.path and not self._is_absolute(path):
            return False
        # The scheme is in any case; a token of another length takes another time, which tells its length alone.
        scheme, _blank, given = authorization.partition(" ")
        right = compare_digest(given.encode("utf-8", "replace"), self.token.encode())
        return right and scheme.lower() == "bearer"

    def asked_by_environ(self, environ: Mapping[str, Any]) -> bool:
        """Whether a WSGI request is the endpoint's."""
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        return self.asked(path, environ.get("HTTP_AUTHORIZATION", ""))

    def asked_by_scope(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether an ASGI request to this path is the endpoint's. A token that came twice is none."""
        given = [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]
        return len(given) == 1 and self.asked(path, given[0])

    def body(self, source: Source, connection: Connection, decision: Decision) -> bytes:
        """Return what the endpoint answers."""
        return json.dumps(describe(source, connection, decision)).encode()

    def _is_absolute(self, path: str) -> bool:
        # The target of a request to a proxy, which some servers hand on whole. RFC 9112 §3.2.2
        _scheme, separator, rest = path.partition("://")
        return bool(separator) and rest[rest.find("/") :] == self.path


def describe(source: Source, connection: Connection, decision: Decision) -> dict[str, Any]:
    """Return what was decided on a connection, on what grounds, and which header names came and were removed.

    `presented` identifies the certificate that `source` took for the client's, whatever was decided about it then;
    `reads` are the configured dialects, the certificate's header first.
    """
    identity = decision.identity if isinstance(decision, Authenticated | Denied) else None
    evidence = _evidence(source, connection)
    return {
        "decision": type(decision).__name__.lower(),
        "reason": decision.reason.value if isinstance(decision, Anonymous | Denied) else None,
        "subject_cn": None if identity is None or identity.statement is not None else identity.subject_cn,
        "fingerprint_sha256": None if identity is None else identity.fingerprint,
        "assurance": None if identity is None else identity.assurance.value,
        "source": None if evidence is None else evidence.source,
        "presented": [] if evidence is None else _identifiers(evidence),
        "reads": [{"name": dialect.name, "headers": dialect.headers} for dialect in source.dialects],
        "removed": sorted(connection.received),
        "peer": connection.server.peer() or connection.server.stated_address(),
        "peer_believed": _believed(source, connection),
    }


def _evidence(source: Source, connection: Connection) -> Evidence | None:
    try:
        return source.read(connection)
    except CertificateRejected:  # the decision says why
        return None


def _identifiers(evidence: Evidence) -> list[str]:
    """Return the leaf's fingerprint, or what a terminator states instead; [] for what cannot be decoded."""
    try:
        decoded = evidence.decoded()
    except CertificateRejected:
        return []
    if isinstance(decoded, Statement):
        return [text for text in (decoded.fingerprint, decoded.name) if text is not None]
    return [sha256(decoded[0]).hexdigest()]


def _believed(source: Source, connection: Connection) -> bool | None:
    """Whether the peer may speak for clients; None where no proxy is trusted by anything."""
    if isinstance(source, AgreeingSources):
        believed = [answer for one in source.sources if (answer := _believed(one, connection)) is not None]
        return any(believed) if believed else None
    return source.believes(connection) if isinstance(source, Forwarded) else None
