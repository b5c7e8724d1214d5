"""TLS at the Python server: one set of parameters for every server, whose files may change while it runs."""

import logging
import os
import re
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth.errors import ConfigurationError
from mtls_auth.handshakes import log_failures_of
from mtls_auth.reloading import Reloading
from mtls_auth.reloading_context import Loaded, ReloadingContext
from mtls_auth.trust import Trust

logger = logging.getLogger("mtls_auth")

File: TypeAlias = str | os.PathLike[str]

_CRL = re.compile(rb"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")
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
        return ReloadingContext(Reloading(self.files, partial(self.load, tuple(alpn_protocols))))

    def gunicorn(self, conf: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Return the context for a worker of gunicorn: `ssl_context = tls.gunicorn` in its configuration file."""
        self._name_peers()
        protocols = tuple(_ALPN[name] for name in conf.http_protocols if name in _ALPN)
        return _context(self, protocols if "h2" in protocols else ())

    def uvicorn(self, config: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Return the context for uvicorn: `uvicorn.run(…, ssl_context_factory=tls.uvicorn)`."""
        return self.context(getattr(config.http_protocol_class, "alpn_protocols", ()))

    def trust(self) -> Trust:
        """Read whom the files trust. Raises `ConfigurationError` with everything that is wrong."""
        problems: list[str] = []
        authorities: Sequence[x509.Certificate] = ()
        crls: tuple[x509.CertificateRevocationList, ...] = ()
        with _found_in(problems, f"client CA {self.client_ca}"):
            authorities = x509.load_pem_x509_certificates(Path(self.client_ca).read_bytes())
        if self.crl is not None:
            with _found_in(problems, f"CRL {self.crl}"):
                crls = _crls_in(Path(self.crl).read_bytes())
        if problems:
            raise ConfigurationError(*problems)
        return Trust(authorities=frozenset(authorities), crls=crls)

    def load(self, alpn_protocols: Sequence[str] = ()) -> Loaded:
        """Read the files into a context that stays as it is. Raises `ConfigurationError` with everything wrong."""
        problems: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION  # a connection's certificate is the one of its handshake
        context.verify_mode = ssl.CERT_REQUIRED if self.required else ssl.CERT_OPTIONAL
        context.verify_flags = _VERIFY | (ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF if self.crl is not None else 0)
        with _found_in(problems, f"certificate {self.certificate}"):
            x509.load_pem_x509_certificates(Path(self.certificate).read_bytes())
        with _found_in(problems, f"key {self.key}"):
            Path(self.key).read_bytes()
        if not problems:
            with _found_in(problems, f"key {self.key} of certificate {self.certificate}"):
                context.load_cert_chain(self.certificate, self.key, self._password)
        with _found_in(problems, f"ciphers {self.ciphers}"):
            if self.ciphers is not None:
                context.set_ciphers(self.ciphers)
        with _found_in(problems, "minimum_version"):
            if self.minimum_version not in {ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3}:
                raise ValueError("give ssl.TLSVersion.TLSv1_2 or TLSv1_3: older ones are broken (RFC 8996)")
            context.minimum_version = self.minimum_version
        with _found_in(problems):
            trust = self.trust()
            context.load_verify_locations(cadata=b"".join(ca.public_bytes(Encoding.DER) for ca in trust.authorities))
            if self.crl is not None:
                context.load_verify_locations(self.crl)
        if problems:
            raise ConfigurationError(*problems)
        if alpn_protocols:
            context.set_alpn_protocols(list(alpn_protocols))
        if self.log_failures:
            log_failures_of(context)
        return Loaded(context=context, trust=trust)

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


@contextmanager
def _found_in(problems: list[str], what: str = "") -> Iterator[None]:
    """Add what is wrong to *problems*, and go on."""
    try:
        yield
    except ConfigurationError as error:
        problems.extend(error.problems)
    except ssl.SSLError as error:
        problems.append(f"{what}: {(error.reason or str(error)).replace('_', ' ').lower()}")
    except OSError as error:
        problems.append(f"{what}: {error.strerror}")
    except ValueError as error:
        problems.append(f"{what}: {error}")


def _crls_in(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    crls = tuple(map(x509.load_pem_x509_crl, _CRL.findall(data)))
    if not crls:
        raise ValueError("there is no X509 CRL in it")
    now = datetime.now(UTC)
    for crl in crls:
        if crl.next_update_utc is not None and crl.next_update_utc < now:
            logger.error(
                "the CRL of %s has expired at %s: every client of that CA is refused until a newer one is there",
                crl.issuer.rfc4514_string(),
                crl.next_update_utc,
            )
    return crls
