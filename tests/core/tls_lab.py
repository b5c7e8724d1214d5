"""A server's TLS files in a directory, its clients, and handshakes between the two."""

import base64
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_auth import ServerTLS
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.pki import BrokenLeaves, revocation_list

LOCALHOST = "127.0.0.1"
TIMEOUT = 20
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class PKI:
    """Who issues: the CA of server and clients, and another one. Keys are made once."""

    def __init__(self, leaves: BrokenLeaves) -> None:
        self.ca = leaves.ca
        self.leaves = leaves
        self.elsewhere = CertificateAuthority("Elsewhere")
        self.server = self.ca.issue_server("localhost", LOCALHOST)
        self.renewed = self.ca.issue_server("localhost", LOCALHOST)
        self.stranger = self.elsewhere.issue("stranger")

    @property
    def alice(self) -> IssuedCertificate:
        """A client with whom nothing is wrong."""
        return self.leaves.good


class TLSLab:
    """The files of one server."""

    def __init__(self, directory: Path, pki: PKI) -> None:
        self.directory = directory
        self.pki = pki
        self.certificate, self.key = pki.server.write(directory, "server")
        self.client_ca = self.write("client-ca.pem", pki.ca.pem)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file, or replace it by another one."""
        new = self.directory / f"{name}.new"
        new.write_bytes(data)
        return new.replace(self.directory / name)

    def revoke(self, *revoked: IssuedCertificate, ca: CertificateAuthority | None = None, **options: Any) -> Path:
        """Write the only CRL of a CA."""
        return self.write("crl.pem", revocation_list(ca or self.pki.ca, *revoked, **options))

    def tls(self, **changes: Any) -> ServerTLS:
        """Return parameters that work, with these changes."""
        files = {"certificate": self.certificate, "key": self.key, "client_ca": self.client_ca}
        return ServerTLS(**{**files, **changes})

    def client(
        self, issued: IssuedCertificate | None = None, version: ssl.TLSVersion | None = None, ciphers: str | None = None
    ) -> ssl.SSLContext:
        """Return the context of a client with this certificate, that speaks this version alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pki.ca.der)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if ciphers is not None:
            context.set_ciphers(ciphers)
        if issued is not None:
            context.load_cert_chain(*issued.write(self.directory, f"client-{issued.fingerprint_sha256[:16]}"))
        return context


def endless_crl(ca: CertificateAuthority) -> bytes:
    """Return a CRL without a nextUpdate, which RFC 5280 §5.1.2.5 asks for and its ASN.1 does not."""
    tbs = x509.load_pem_x509_crl(revocation_list(ca)).tbs_certlist_bytes
    (next_update,) = re.findall(rb"\x17\x0d.{13}(\x17\x0d.{13})", tbs, re.DOTALL)
    start = 2 if tbs[1] < 0x80 else 2 + (tbs[1] & 0x7F)
    tbs = _der(0x30, tbs[start:].replace(next_update, b""))
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    signature = _der(0x03, b"\x00" + ca.key.sign(tbs, ec.ECDSA(hashes.SHA256())))
    ecdsa_with_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
    encoded = base64.encodebytes(_der(0x30, tbs + ecdsa_with_sha256 + signature))
    return b"-----BEGIN X509 CRL-----\n" + encoded + b"-----END X509 CRL-----\n"


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = size.to_bytes(1 + (size > 0xFF))
    return bytes([tag, *length] if size < 0x80 else [tag, 0x80 + len(length), *length]) + content


class Memory:
    """A connection in memory: both ends without a socket."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.up, self.down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(self.up, self.down, server_side=True)
        self.client = client.wrap_bio(self.down, self.up, server_hostname="localhost", session=session)

    def shake_hands(self) -> "Memory":
        """Make the handshake, and take the session tickets that follow it. Raises whatever the server raises."""
        steps: list[Callable[[], object]] = [self.client.do_handshake, self.server.do_handshake]
        for step in steps * 3:
            with suppress(ssl.SSLWantReadError):
                step()
        self.say(b"ping")
        self.client.write(b"pong")
        assert self.server.read() == b"pong"
        return self

    def say(self, data: bytes) -> None:
        """Send from the server to the client."""
        self.server.write(data)
        assert self.client.read() == data


def certificate_of(server: ssl.SSLContext) -> bytes | None:
    """Return the server certificate that a new connection gets, from a client that looks at none."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return Memory(server, client).shake_hands().client.getpeercert(True)


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the server's and the client's end of a connection that has an address."""
    with (
        socket.create_server((LOCALHOST, 0)) as listener,
        socket.create_connection(listener.getsockname(), TIMEOUT) as client,
    ):
        server, _address = listener.accept()
        server.settimeout(TIMEOUT)
        with server:
            yield server, client


@contextmanager
def connected(server: ssl.SSLContext, client: ssl.SSLContext) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Yield both ends of a TLS connection over TCP."""
    with tcp_pair() as (near, far), ThreadPoolExecutor(1) as pool:
        pending = pool.submit(client.wrap_socket, far, server_hostname="localhost")
        with server.wrap_socket(near, server_side=True) as server_end, pending.result(TIMEOUT) as client_end:
            yield server_end, client_end


def touch(*files: os.PathLike[str], moved: int = 1) -> None:
    """Give files another time of their last change, which is what is looked at."""
    for file in files:
        found = os.stat(file)
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + moved))


def texts(records: Sequence[Any]) -> list[str]:
    """Return the lines of a log."""
    return [record.getMessage() for record in records]
