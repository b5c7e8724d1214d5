"""One request at a time to one target, over a connection of its own, so many a second and no more."""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mtls_auth.errors import ConfigurationError
from mtls_auth.probing import http1
from mtls_auth.probing.answer import Answer
from mtls_auth.probing.http2_tricks import Http2Trick
from mtls_auth.probing.target import Target, UnreachableError
from mtls_auth.probing.tricks import LOCALHOST, Headers, Trick

ATTEMPTS = 3
"""Connections that are tried before a target counts as unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks: nobody, or the holder of a certificate. The contexts are for targets that speak TLS."""

    name: str
    http1: ssl.SSLContext
    http2: ssl.SSLContext

    @classmethod
    def of(cls, name: str, *, ca: Path | None, files: tuple[Path, Path] | None = None) -> Self:
        """Trust the system's CAs, or *ca* alone; present the certificate and key in *files*.

        Raises `ConfigurationError` for files that cannot be used.
        """
        return cls(name=name, http1=_context(["http/1.1"], ca, files), http2=_context(["h2", "http/1.1"], ca, files))


def _context(protocols: list[str], ca: Path | None, files: tuple[Path, Path] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"--ca {ca}: {error}: name a PEM file with the CA of the server") from error
    if files is not None:
        try:
            # An encrypted key would ask for its passphrase on the terminal.
            context.load_cert_chain(*files, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"--cert {files[0]}, --key {files[1]}: {error}: name a PEM certificate with its chain, and its key "
                "without a passphrase"
            ) from error
    context.set_alpn_protocols(protocols)
    return context


def _no_passphrase() -> str:
    return ""


class Sender:
    """Sends tricks to targets, with the endpoint's token."""

    def __init__(self, token: str, *, rate: float, timeout: float) -> None:
        self._extra: Headers = (
            ("Authorization", f"Bearer {token}"),
            ("User-Agent", "mtls-auth-probe"),
            ("Accept", "application/json"),
        )
        self._interval = 1 / rate
        self._timeout = timeout
        self._not_before = 0.0

    def send(self, target: Target, client: Client, trick: Trick, forged: Headers, address: str = LOCALHOST) -> Answer:
        """Send one request by HTTP/1.1. Raises `UnreachableError` if no connection can be made."""
        parts = trick.request(forged, path=target.path, host=target.host, extra=self._extra, address=address)
        with self._connect(target, client.http1) as connection:
            return http1.exchange(connection, parts)

    def send_http2(
        self, target: Target, client: Client, trick: Http2Trick, forged: Headers, address: str = LOCALHOST
    ) -> Answer | None:
        """Send one request by HTTP/2, None if the server does not speak it. Raises `ImportError` without `h2`."""
        from mtls_auth.probing import http2  # an optional dependency

        fields, trailers = trick.request(forged, path=target.path, host=target.host, extra=self._extra, address=address)
        with self._connect(target, client.http2) as connection:
            return http2.exchange(connection, fields, trailers) if http2.speaks_http2(connection) else None

    def _connect(self, target: Target, context: ssl.SSLContext) -> socket.socket:
        attempts = 0
        while True:
            attempts += 1
            self._wait()
            try:
                return target.connect(context, self._timeout)
            except ssl.SSLCertVerificationError as error:
                raise UnreachableError(
                    f"{target.url}: the server's certificate is not trusted ({error.verify_message}): name its CA with "
                    "--ca, and the host as the certificate does"
                ) from error
            except OSError as error:
                if attempts == ATTEMPTS:
                    raise UnreachableError(f"{target.url} cannot be reached: {error}") from error

    def _wait(self) -> None:
        now = time.monotonic()
        if now < self._not_before:
            time.sleep(self._not_before - now)
        self._not_before = max(now, self._not_before) + self._interval
