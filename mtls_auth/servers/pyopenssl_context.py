"""`ServerTLS` for pyOpenSSL, which Twisted speaks TLS with: the same parameters, verification and log."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from mtls_auth.errors import ConfigurationError
from mtls_auth.generations import Generation, Generations
from mtls_auth.handshakes import log_refusal
from mtls_auth.server_context import ServerTLS
from mtls_auth.servers.tls_extension import tls_extension
from mtls_auth.trust import Trust

_UNUSABLE = (SSL.Error, crypto.Error, OSError, ValueError, TypeError, UnsupportedAlgorithm)
# Of pyOpenSSL's own names, as OpenSSL's texts are not offered.
_VERIFY_MESSAGES = {
    code: name.removeprefix("ERR_").replace("_", " ").lower()
    for name, code in vars(SSL.X509VerificationCodes).items()
    if isinstance(code, int)
}


class PyOpenSSLContext:
    """Makes the server's side of connections, each with the newest files.

    Sessions are not resumed: every handshake is a full one. Raises `ConfigurationError` with everything that is wrong.
    """

    def __init__(self, tls: ServerTLS, alpn_protocols: Sequence[bytes]) -> None:
        self.generations = Generations(tls.files, partial(_load, tls, alpn_protocols))
        self.log_failures = tls.log_failures

    def connection(self, peer: Callable[[], str | None]) -> "Connection":
        """Return the server's side of a new connection; *peer* is asked once, and not yet, whose it is."""
        return Connection(self, peer)


class Connection(SSL.Connection):
    """The server's side of one connection, over memory."""

    verify_code: int | None = None  # X509_V_ERR_…

    def __init__(self, made_by: PyOpenSSLContext, peer: Callable[[], str | None]) -> None:
        accepted = made_by.generations.current()
        self._log_failures = made_by.log_failures
        self._objection = made_by.generations.objection_under(accepted)
        self._ask_peer = peer
        super().__init__(accepted.context)
        self.set_accept_state()

    @cached_property
    def peer(self) -> str | None:
        """The transport peer; None for one that was gone when it was first asked about."""
        return self._ask_peer()

    @cached_property
    def client_chain(self) -> tuple[bytes, ...]:
        """The client's certificates that were verified, in DER, leaf first; () without one. Once the handshake is done.

        The leaf never comes from the chain.
        """
        leaf = self.get_peer_certificate()
        return () if leaf is None else tuple(map(_der, [leaf, *(self.get_verified_chain() or ())[1:]]))

    def extension(self) -> dict[str, Any]:
        """Return the ASGI TLS extension, with what the files that are in force by now have against the client."""
        reason = self._objection(self.client_chain[0]) if self.client_chain else None
        return {**self._tls_extension, "client_cert_error": None if reason is None else reason.value}

    @cached_property
    def _tls_extension(self) -> Mapping[str, Any]:
        version, cipher = self.get_protocol_version_name(), self.get_cipher_name()
        return tls_extension(self.client_chain, version=version, cipher=cipher)

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except SSL.WantReadError:
            raise
        except SSL.Error as error:
            if self._log_failures:
                code = self.verify_code
                message = _reason(error) if code is None else _VERIFY_MESSAGES.get(code, f"verify error {code}")
                log_refusal(self.peer, verify_code=code, message=message)
            raise


def _load(tls: ServerTLS, alpn_protocols: Sequence[bytes]) -> Generation[SSL.Context]:
    loaded = tls.load()  # says all that is wrong, and knows the rest of the parameters
    try:
        return Generation(context=_context(tls, loaded.context, loaded.trust, alpn_protocols), trust=loaded.trust)
    except _UNUSABLE as error:  # by another OpenSSL than Python's, or changed meanwhile
        raise ConfigurationError(f"pyOpenSSL refuses the files: {_reason(error)}") from error


def _context(tls: ServerTLS, like: ssl.SSLContext, trust: Trust, alpn_protocols: Sequence[bytes]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    # A connection's certificate is the one of its handshake, and it made one.
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_min_proto_version(tls.minimum_version)
    ciphers = [cipher["name"] for cipher in like.get_ciphers()]
    context.set_cipher_list(":".join([*ciphers, f"@SECLEVEL={like.security_level}"]).encode())
    context.use_certificate_chain_file(tls.certificate)
    context.use_privatekey(_private_key(tls))
    context.check_privatekey()
    store: Any = context.get_cert_store()
    store.set_flags(like.verify_flags)
    for authority in trust.authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    for crl in trust.crls:
        store.add_crl(crl)
    context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if tls.required else 0), _verified)
    context.set_alpn_select_callback(partial(_select, alpn_protocols))
    return context


def _private_key(tls: ServerTLS) -> Any:
    data = Path(tls.key).read_bytes()
    if tls.key_password is not None:
        with suppress(TypeError):  # it is not encrypted
            return load_pem_private_key(data, tls.key_password.encode())
    return load_pem_private_key(data, None)


def _verified(connection: Any, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """Leave the verdict to OpenSSL, and remember why it is bad."""
    if not ok:
        connection.verify_code = code
    return bool(ok)


def _select(ours: Sequence[bytes], connection: SSL.Connection, theirs: Sequence[bytes]) -> Any:
    return next((protocol for protocol in ours if protocol in theirs), SSL.NO_OVERLAPPING_PROTOCOLS)


def _der(certificate: crypto.X509) -> bytes:
    # Not by way of `cryptography`, which cannot read every certificate that OpenSSL accepts.
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _reason(error: Exception) -> str:
    """Return OpenSSL's own reason, written as `ssl.SSLError.reason` is."""
    queue = error.args[0] if error.args else None
    reasons = [entry[2] for entry in queue] if isinstance(queue, list) else [str(error) or type(error).__name__]
    return "; ".join(reasons).upper().replace(" ", "_")
