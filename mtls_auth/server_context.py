"""TLS at the Python server: one set of parameters for every server, whose files may change while it runs."""

import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

from mtls_auth.generations import Generation, Generations
from mtls_auth.handshakes import log_failures_of
from mtls_auth.problems import Problems
from mtls_auth.reloading_context import ReloadingContext
from mtls_auth.trust_files import File, certificates_of, read_trust, trust_in

_making = Lock()
_ALPN = {"h1": "http/1.1", "h2": "h2"}
# Said explicitly to be the same on every Python. 3.13 made its default strict, which refuses the many CAs without a
# keyUsage; a CA below a root is a trust anchor of its own, so that not every client of the root is welcome.
_VERIFY = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTLS:
    """The parameters of a server that asks its clients for certificates. The files are PEM.

    `certificate` is the server's own, with its chain; `client_ca` are the CAs, roots or not, whose clients are
    verified; `crl` are the revocation lists of every CA that issues to clients. Without `required`, clients without a
    certificate are let through, and the application decides; one that cannot be verified fails the handshake in both
    cases. `ciphers` is OpenSSL's list for TLS 1.2. Raises `ConfigurationError` with everything that is wrong.
    RFC 5280 §6, RFC 8446 §4.3.2.
    """

    certificate: File
    key: File
    client_ca: File
    crl: File | None = None
    required: bool = False
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str | None = None
    key_password: str | None = field(default=None, repr=False)
    log_failures: bool = True

    def __post_init__(self) -> None:
        self.load()

    @property
    def files(self) -> tuple[File, ...]:
        """Every file that is read."""
        return (self.certificate, self.key, self.client_ca, *(() if self.crl is None else (self.crl,)))

    def context(self, alpn_protocols: Sequence[str] = ()) -> ssl.SSLContext:
        """Return a context for a server, of which each new connection gets the newest files. It cannot be changed.

        Made while an asyncio loop runs, it has that loop's servers log who it was that failed the handshake.
        """
        self._name_peers()
        return ReloadingContext(Generations(self.files, partial(self.load, tuple(alpn_protocols))))

    def gunicorn(self, conf: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Return the context for a worker of gunicorn: `ssl_context = tls.gunicorn` in its configuration file."""
        self._name_peers()
        protocols = tuple(_ALPN[name] for name in conf.http_protocols if name in _ALPN)
        return _context(self, protocols if "h2" in protocols else ())

    def uvicorn(self, config: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Return the context for uvicorn: `uvicorn.run(…, ssl_context_factory=tls.uvicorn)`."""
        return self.context(getattr(config.http_protocol_class, "alpn_protocols", ()))

    def load(self, alpn_protocols: Sequence[str] = ()) -> Generation[ssl.SSLContext]:
        """Read the files into a context that stays as it is. Raises `ConfigurationError` with everything wrong."""
        problems = Problems()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION  # a connection's certificate is the one of its handshake
        context.verify_mode = ssl.CERT_REQUIRED if self.required else ssl.CERT_OPTIONAL
        context.verify_flags = _VERIFY
        with problems.of(f"certificate {self.certificate}"):
            certificates_of(self.certificate)
        with problems.of(f"key {self.key}"):
            Path(self.key).read_bytes()
        if not problems:
            with problems.of(f"key {self.key} of certificate {self.certificate}"):
                context.load_cert_chain(self.certificate, self.key, self._password)
        with problems.of(f"ciphers {self.ciphers}"):
            if self.ciphers is not None:
                context.set_ciphers(self.ciphers)
        with problems.of("minimum_version"):
            if self.minimum_version not in {ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3}:
                raise ValueError("give ssl.TLSVersion.TLSv1_2 or TLSv1_3: older ones are broken (RFC 8996)")
            context.minimum_version = self.minimum_version
        with problems.of(f"client CA {self.client_ca}"):
            trust = read_trust(self.client_ca, self.crl)
            trust_in(context, trust)
        problems.check()
        if alpn_protocols:
            context.set_alpn_protocols(list(alpn_protocols))
        if self.log_failures:
            log_failures_of(context)
        return Generation(context=context, trust=trust)

    def _name_peers(self) -> None:
        if self.log_failures and "asyncio" in sys.modules:  # else no loop runs; and its import takes long
            from mtls_auth.asyncio_accept import accept_first

            accept_first(ReloadingContext)

    def _password(self) -> str:
        if self.key_password is None:  # OpenSSL would ask the terminal, and wait
            raise ValueError("it is encrypted: give key_password")
        return self.key_password


def _context(tls: ServerTLS, alpn_protocols: tuple[str, ...]) -> ssl.SSLContext:
    # gunicorn's sync and gthread workers ask for one at each connection.
    with _making:
        return _made(tls, alpn_protocols)


@cache
def _made(tls: ServerTLS, alpn_protocols: tuple[str, ...]) -> ssl.SSLContext:
    return tls.context(alpn_protocols)
