"""What a server or gateway puts beside the headers: variables of the environ or scope that no client can write.

Headers arrive under `HTTP_…`; these keys do not. They are believed as they are: whoever can connect to an
application's uwsgi, SCGI or FastCGI socket, or invoke its Lambda function, can write them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mtls_auth import codecs
from mtls_auth.connection import Connection
from mtls_auth.dialect import Confidence, Dialect, Verdict
from mtls_auth.errors import CertificateRejected, ConfigurationError, Reason
from mtls_auth.evidence import Assurance, Decoded, Evidence, Raw, Statement, decode_leaf
from mtls_auth.forwarded import MAX_CHAIN_CHARACTERS, MAX_LEAF_CHARACTERS

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVariables:
    """One server's way to hand a certificate on: keys of the environ or scope, each a path into nested mappings.

    All of `leaf` that are there must agree. `verdict.header` is the key of the server's own verification.
    """

    name: str
    title: str
    leaf: tuple[Path, ...]
    decode: Callable[[str], Decoded]
    chain: tuple[Path, ...] = ()
    verdict: Verdict | None = None
    assurance: Assurance = Assurance.TLS_SOCKET
    states: frozenset[str] = frozenset()
    confidence: Confidence = Confidence.OBSERVED

    def __post_init__(self) -> None:
        keys = [path[0] for path in (*self.leaf, *self.chain)] + ([self.verdict.header] if self.verdict else [])
        if wrong := [key for key in keys if key.upper().startswith("HTTP_")]:
            raise ConfigurationError(f"{self.name}: {wrong[0]} is a header, which clients write: use Forwarded")

    @property
    def without_certificate(self) -> bool:
        """Whether the server keeps the certificate to itself."""
        return bool(self.states)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are read."""
        verdict = (self.verdict.header,) if self.verdict is not None else ()
        return (*dict.fromkeys(path[0] for path in self.leaf), *verdict, *(path[0] for path in self.chain))

    def decode_raw(self, raw: Raw) -> tuple[bytes, ...] | Statement:
        """Decode the leaf and the chain to DER, or to a statement."""
        leaf, *chain = (value for value in raw if isinstance(value, str))
        certificates = decode_leaf(self.decode, leaf, self.leaf[0][-1])
        if isinstance(certificates, Statement):
            return certificates
        return (*certificates, *map(codecs.pem, chain))


@dataclass(frozen=True, slots=True)
class ServerEnviron:
    """The variables of the server as a source. Raises `ConfigurationError` where the process's own have these names.

    wsgiref and Django's runserver copy the process's environment into every request.
    """

    variables: ServerVariables
    dialects: tuple[Dialect, ...] = ()
    headers: frozenset[str] = frozenset()
    vouches: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        inherited = [key for key in self.variables.keys if key in os.environ]
        if inherited and "GATEWAY_INTERFACE" not in os.environ:  # a CGI process has this one request's
            raise ConfigurationError(
                f"{', '.join(inherited)} is set in the environment of this process, which some servers copy into every "
                "request: unset it"
            )

    def read(self, connection: Connection) -> Evidence | None:
        row, server = self.variables, connection.server
        leaves = {value for path in row.leaf if (value := _text(server.variable(path), path))}
        if len(leaves) > 1:
            raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "the server names different certificates")
        if row.verdict is not None:
            key = (row.verdict.header,)
            row.verdict.check(_text(server.variable(key), key), came=bool(leaves))
        if not leaves:
            return None
        leaf = leaves.pop()
        chain = tuple(value for path in row.chain if (value := _text(server.variable(path), path)))
        if len(leaf) > MAX_LEAF_CHARACTERS or sum(map(len, chain)) > MAX_CHAIN_CHARACTERS:
            raise CertificateRejected(Reason.OVERSIZED_HEADER, "the server's certificate variables are too long")
        return Evidence(row.name, (leaf, *chain), row.assurance, row.decode_raw)


def _text(value: object, path: Path) -> str | None:
    if isinstance(value, bytes):  # uWSGI
        value = value.decode("latin-1")
    if value is not None and not isinstance(value, str):
        raise CertificateRejected(Reason.MALFORMED_HEADER, f"the server's {path[-1]} is not text")
    return value


def _distinguished_name(text: str) -> Statement:
    return Statement(name=text)


_SSL_CLIENT_VERIFY = Verdict(header="SSL_CLIENT_VERIFY", success=frozenset({"SUCCESS"}), absent=frozenset({"NONE", ""}))
_CHAIN: tuple[Path, ...] = tuple((f"SSL_CLIENT_CERT_CHAIN_{number}",) for number in range(4))

MOD_WSGI = ServerVariables(
    name="mod_wsgi",
    title="Apache with mod_wsgi, SSLOptions +StdEnvVars +ExportCertData",
    leaf=(("SSL_CLIENT_CERT",),),
    decode=codecs.pem,
    chain=_CHAIN,  # gone on a resumed session
    verdict=_SSL_CLIENT_VERIFY,
)

GATEWAY_PARAMS = ServerVariables(
    name="gateway-params",
    title="uwsgi_param, scgi_param, fastcgi_param of Nginx; mod_proxy_uwsgi, -scgi, -fcgi of Apache; lighttpd",
    leaf=(("SSL_CLIENT_CERT",),),
    decode=codecs.pem,
    chain=_CHAIN,
    verdict=_SSL_CLIENT_VERIFY,
    assurance=Assurance.PROXY_VERDICT,
)

UWSGI = ServerVariables(
    name="uwsgi",
    title="uWSGI's own HTTPS router, https-export-cert",
    leaf=(("HTTPS_CC",),),
    decode=codecs.pem,
)

CHEROOT = ServerVariables(
    name="cheroot",
    title="cheroot (CherryPy) with its ssl adapters",
    leaf=(("SSL_CLIENT_CERT",),),
    decode=codecs.pem,
    verdict=_SSL_CLIENT_VERIFY,
)

WERKZEUG = ServerVariables(
    name="werkzeug",
    title="werkzeug's development server with an SSL context that verifies",
    leaf=(("SSL_CLIENT_CERT",),),
    decode=codecs.pem,
)

PYVOY = ServerVariables(
    name="pyvoy",
    title="pyvoy: the subject's text alone",
    leaf=(("wsgi.ext.tls.client_cert_name",), ("extensions", "tls", "client_cert_name")),
    decode=_distinguished_name,
    states=frozenset({"name"}),
)

_EVENTS = ("aws.event", "apig_wsgi.full_event", "serverless.event", "awsgi.event")

AWS_API_GATEWAY = ServerVariables(
    name="aws-api-gateway",
    title="AWS API Gateway events, through Mangum, apig-wsgi, serverless-wsgi or aws-wsgi",
    leaf=tuple(
        (event, "requestContext", *where, "clientCert", "clientCertPem")
        for event in _EVENTS
        for where in (("identity",), ("authentication",))  # REST APIs, HTTP APIs
    ),
    decode=codecs.pem,
    assurance=Assurance.PROXY_PRESENCE,
    confidence=Confidence.DOCUMENTED,
)

BUILTIN_VARIABLES: Mapping[str, ServerVariables] = {
    row.name: row for row in (MOD_WSGI, GATEWAY_PARAMS, UWSGI, CHEROOT, WERKZEUG, PYVOY, AWS_API_GATEWAY)
}
