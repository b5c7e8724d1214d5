"""The files of CAs and revocation lists: read strictly, and handed to OpenSSL as they were read."""

import logging
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth.issuer_key import issuer_key
from mtls_auth.problems import Problems
from mtls_auth.trust import Trust

logger = logging.getLogger("mtls_auth")

File: TypeAlias = str | os.PathLike[str]

_CRL = re.compile(rb"-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----")


def read_trust(client_ca: File, crl: File | None) -> Trust:
    """Read whom the files trust, as of now. Raises `ConfigurationError` with everything that is wrong."""
    now = datetime.now(UTC)
    problems = Problems()
    authorities: Sequence[x509.Certificate] = ()
    crls: Sequence[x509.CertificateRevocationList] | None = None
    with problems.of(f"client CA {client_ca}"):
        authorities = certificates_of(client_ca)
    if crl is not None:
        with problems.of(f"CRL {crl}"):
            crls = _crls_in(Path(crl).read_bytes())
    problems.check()
    _warn(authorities, crls or (), now)
    return Trust.of(authorities, crls, at=now)


def certificates_of(file: File) -> Sequence[x509.Certificate]:
    """Read the certificates of a PEM file; raise OSError or ValueError where there is none."""
    data = Path(file).read_bytes()
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ValueError("there is no certificate in PEM in it")
    return x509.load_pem_x509_certificates(data)


def trust_in(context: ssl.SSLContext, trust: Trust) -> None:
    """Make *context* verify clients by *trust*.

    Where our CAs are roots, each with a list of its own, the whole path is looked up in the lists, else the leaf alone:
    of an anchor below a root OpenSSL would look for a list that the anchor itself has signed.
    """
    if trust.authorities:
        context.load_verify_locations(cadata=b"".join(ca.public_bytes(Encoding.DER) for ca in trust.authorities))
    if trust.revoked is None:
        return
    flag = ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    if all(ca.issuer == ca.subject and issuer_key(ca.issuer) in trust.revoked for ca in trust.authorities):
        flag = ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    context.verify_flags |= flag
    # OpenSSL takes lists from files alone, and from the operator's file it would trust certificates, too.
    with _file_of(b"".join(crl.public_bytes(Encoding.PEM) for crl in trust.crls)) as file:
        context.load_verify_locations(file)


@contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create"):  # where everything else may be read-only
        descriptor = os.memfd_create("crl")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "crl.pem"
            path.write_bytes(data)
            yield str(path)


def _crls_in(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    crls = tuple(map(x509.load_pem_x509_crl, _CRL.findall(data)))
    if not crls:
        raise ValueError("there is no X509 CRL in PEM in it")
    for crl in crls:
        if any(extension.oid == x509.DeltaCRLIndicator.oid for extension in crl.extensions):
            raise ValueError(f"the list of {crl.issuer.rfc4514_string()} is a delta CRL: give complete lists")
    return crls


def _warn(
    authorities: Sequence[x509.Certificate], crls: Sequence[x509.CertificateRevocationList], now: datetime
) -> None:
    ends = [("CA", ca.subject, ca.not_valid_after_utc) for ca in authorities]
    ends += [("CRL of", crl.issuer, crl.next_update_utc) for crl in crls if crl.next_update_utc is not None]
    for kind, name, end in ends:
        if end < now:
            logger.error(
                "the %s %s has expired at %s: every client of that CA is refused until there is a newer one",
                kind,
                name.rfc4514_string(),
                end,
            )
