"""Which clients a `ServerTLS` lets in, in real handshakes."""

import logging
import os
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth import ConfigurationError, ServerTLS
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, generate_key
from tests.core.tls_lab import VERSIONS, Memory, TLSLab, endless_crl
from tests.pki import revocation_list


def reason_of_handshake(tls: ServerTLS, client: ssl.SSLContext) -> str | None:
    """Return what OpenSSL has against the client's certificate, None if nothing; let any other refusal through."""
    connection = Memory(tls.context(), client)
    try:
        connection.shake_hands()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    return None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("required", [False, True])
def test_clients(lab: TLSLab, required: bool, version: str) -> None:
    """A client with a certificate is welcome, one without where none is required, a stranger never."""
    tls, pki = lab.tls(required=required), lab.pki
    assert tls.context().verify_mode is (ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL)
    good = Memory(tls.context(), lab.client(pki.alice, VERSIONS[version])).shake_hands()
    assert good.server.getpeercert(True) == pki.alice.der
    for bad in (pki.stranger, pki.leaves.from_impostor_ca, pki.leaves.impostor):
        assert reason_of_handshake(tls, lab.client(bad, VERSIONS[version]))
    assert reason_of_handshake(tls, lab.client(pki.leaves.expired, VERSIONS[version])) == "certificate has expired"
    assert reason_of_handshake(tls, lab.client(pki.leaves.server_only, VERSIONS[version]))
    without = Memory(tls.context(), lab.client(None, VERSIONS[version]))
    if required:
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            without.shake_hands()
    else:
        assert without.shake_hands().server.getpeercert(True) is None


def test_minimum_version(lab: TLSLab) -> None:
    """Clients of an older version are refused; TLS 1.2 is the oldest by default."""
    for minimum, spoken in (("1.2", "TLSv1.2"), ("1.3", None)):
        tls = lab.tls(minimum_version=VERSIONS[minimum])
        found = None
        with suppress(ssl.SSLError):
            connection = Memory(tls.context(), lab.client(version=ssl.TLSVersion.TLSv1_2))
            found = connection.shake_hands().server.version()
        assert found == spoken
        assert Memory(tls.context(), lab.client()).shake_hands().server.version() == "TLSv1.3"
    assert lab.tls().load().context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_ciphers(lab: TLSLab) -> None:
    """The ciphers of TLS 1.2 are those that are named, where any are."""
    client = lab.client(version=ssl.TLSVersion.TLSv1_2)
    tls = lab.tls(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    cipher = Memory(tls.context(), client).shake_hands().server.cipher()
    assert cipher is not None
    assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        Memory(tls.context(), lab.client(None, VERSIONS["1.2"], "ECDHE-ECDSA-AES128-GCM-SHA256")).shake_hands()


def test_no_renegotiation(lab: TLSLab) -> None:
    """A client cannot change its certificate within a connection."""
    assert lab.tls().load().context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("version", VERSIONS)
def test_a_revoked_leaf(lab: TLSLab, version: str) -> None:
    """Who is on the CRL is refused in the handshake; others of the same CA are not."""
    tls = lab.tls(crl=lab.revoke(lab.pki.alice))
    assert reason_of_handshake(tls, lab.client(lab.pki.alice, VERSIONS[version])) == "certificate revoked"
    assert reason_of_handshake(tls, lab.client(lab.pki.ca.issue("bob"), VERSIONS[version])) is None
    assert reason_of_handshake(tls, lab.client(None, VERSIONS[version])) is None


def test_a_crl_of_another_ca(lab: TLSLab) -> None:
    """Without the CRL of a client's own CA the client is refused: it may be revoked."""
    tls = lab.tls(crl=lab.revoke(ca=lab.pki.elsewhere))
    assert reason_of_handshake(tls, lab.client(lab.pki.alice)) == "unable to get certificate CRL"


def test_a_forged_crl(lab: TLSLab) -> None:
    """A CRL that the CA did not sign is no CRL of that CA."""
    forged = revocation_list(lab.pki.elsewhere, issuer=lab.pki.ca.subject)
    tls = lab.tls(crl=lab.write("crl.pem", forged))
    assert reason_of_handshake(tls, lab.client(lab.pki.alice)) == "CRL signature failure"


def test_crls_of_two_cas(lab: TLSLab) -> None:
    """A file has the CRL of each CA, with anything in between."""
    pki = lab.pki
    crls = (
        b"of the one:\n"
        + revocation_list(pki.ca, pki.alice).replace(b"\n", b"\r\n")
        + b"of the other:\n"
        + revocation_list(pki.elsewhere)
    )
    both = lab.write("both.pem", pki.ca.pem + pki.elsewhere.pem)
    tls = lab.tls(client_ca=both, crl=lab.write("crl.pem", crls))
    assert len(tls.load().trust.crls) == 2
    assert reason_of_handshake(tls, lab.client(pki.alice)) == "certificate revoked"
    assert reason_of_handshake(tls, lab.client(pki.stranger)) is None


def test_an_expired_crl(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """An expired CRL refuses every client of its CA, and an error says so beforehand."""
    tls = lab.tls(crl=lab.revoke(ends=timedelta(minutes=-1)))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "CN=Test CA has expired at" in record.getMessage()
    assert "every client of that CA is refused" in record.getMessage()
    assert reason_of_handshake(tls, lab.client(lab.pki.alice)) == "CRL has expired"


@pytest.mark.parametrize("memfd", [True, False])
def test_without_files_in_memory(lab: TLSLab, monkeypatch: pytest.MonkeyPatch, memfd: bool) -> None:
    """CRLs get to OpenSSL on systems without files in memory, too."""
    if not memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has none")
    tls = lab.tls(crl=lab.revoke(lab.pki.alice))
    assert reason_of_handshake(tls, lab.client(lab.pki.alice)) == "certificate revoked"


def test_a_revoked_intermediate(lab: TLSLab) -> None:
    """Where the root has a CRL, a CA below it that is revoked takes its clients with it."""
    below = lab.pki.ca.intermediate("Below")
    client = lab.client(below.issue("carol"))
    for revoked, expected in (((), None), ((below,), "certificate revoked")):
        lists = revocation_list(lab.pki.ca, *revoked) + revocation_list(below)
        tls = lab.tls(crl=lab.write("crl.pem", lists))
        assert reason_of_handshake(tls, client) == expected


@pytest.mark.parametrize("with_root", [True, False], ids=["below a root", "alone"])
def test_an_intermediate_among_the_anchors_with_every_crl(lab: TLSLab, with_root: bool) -> None:
    """Clients of a CA below a root, which is an anchor itself, are welcome with the CRLs of both."""
    below = lab.pki.ca.intermediate("Below")
    anchors = lab.write("anchors.pem", below.pem + (lab.pki.ca.pem if with_root else b""))
    carol, dave = below.issue("carol"), below.issue("dave")
    tls = lab.tls(
        client_ca=anchors, crl=lab.write("crl.pem", revocation_list(lab.pki.ca) + revocation_list(below, dave))
    )
    assert reason_of_handshake(tls, lab.client(dave)) == "certificate revoked"
    assert reason_of_handshake(tls, lab.client(carol)) is None


def test_an_intermediate_among_the_anchors_with_its_crl(lab: TLSLab) -> None:
    """The CRL of the only anchor is enough for its clients."""
    below = lab.pki.ca.intermediate("Below")
    carol, dave = below.issue("carol"), below.issue("dave")
    tls = lab.tls(client_ca=lab.write("below.pem", below.pem), crl=lab.write("crl.pem", revocation_list(below, dave)))
    assert reason_of_handshake(tls, lab.client(dave)) == "certificate revoked"
    assert reason_of_handshake(tls, lab.client(carol)) is None


def test_an_expired_ca(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """A CA that has expired trusts nobody, and an error says so; without a certificate clients get in as before."""
    ca = CertificateAuthority("Expired", not_after=datetime.now(UTC) - timedelta(days=1))
    tls = lab.tls(client_ca=lab.write("expired.pem", ca.pem))
    assert "the CA CN=Expired has expired at" in caplog.text
    assert reason_of_handshake(tls, lab.client(ca.issue("frank")))
    assert reason_of_handshake(tls, lab.client()) is None


@pytest.mark.parametrize("ends", [True, False])
def test_a_crl_in_force(lab: TLSLab, caplog: pytest.LogCaptureFixture, ends: bool) -> None:
    """A CRL that has not ended, or never does, is no error."""
    path = lab.revoke()
    if not ends:
        path = lab.write("crl.pem", endless_crl(lab.pki.ca))
    lab.tls(crl=path)
    assert caplog.records == []


def test_a_certificate_in_the_crl_file(lab: TLSLab) -> None:
    """Whom clients are verified against is in `client_ca` alone, whatever else stands in the file of the CRLs."""
    pki = lab.pki
    both = revocation_list(pki.ca) + revocation_list(pki.elsewhere) + pki.elsewhere.pem
    try:
        tls = lab.tls(crl=lab.write("crl.pem", both))
    except ConfigurationError:
        return
    assert reason_of_handshake(tls, lab.client(pki.stranger))


def test_an_intermediate_as_the_only_anchor(lab: TLSLab) -> None:
    """A CA below a root is enough; clients of the root itself, and of its other CAs, are not welcome then."""
    below, beside = lab.pki.ca.intermediate("Below"), lab.pki.ca.intermediate("Beside")
    tls = lab.tls(client_ca=lab.write("below.pem", below.pem))
    assert reason_of_handshake(tls, lab.client(below.issue("carol"))) is None
    for other in (beside.issue("dave"), lab.pki.alice):
        assert reason_of_handshake(tls, lab.client(other))


def test_below_an_intermediate(lab: TLSLab) -> None:
    """A client of a CA below the root is welcome with that CA's certificate, which it has to send."""
    issued = lab.pki.leaves.through_intermediate
    tls = lab.tls()
    assert reason_of_handshake(tls, lab.client(issued)) is None
    alone = IssuedCertificate(certificate=issued.certificate, key=issued.key, chain=(), root=issued.root)
    assert reason_of_handshake(tls, lab.client(alone))


def ca_without_key_usage() -> tuple[CertificateAuthority, bytes]:
    """Return a CA as `openssl req -x509` makes it, and its certificate in PEM: without a keyUsage."""
    ca = CertificateAuthority("Without keyUsage")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(ca.subject)
        .issuer_name(ca.subject)
        .public_key(ca.key.public_key())
        .serial_number(1)
        .not_valid_before(ca.certificate.not_valid_before_utc)
        .not_valid_after(ca.certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca.key, hashes.SHA256())
    )
    return ca, certificate.public_bytes(Encoding.PEM)


def test_a_ca_without_key_usage(lab: TLSLab) -> None:
    """A CA without a keyUsage is one on every Python: 3.13 refuses it by default."""
    ca, pem = ca_without_key_usage()
    tls = lab.tls(client_ca=lab.write("ca.pem", pem))
    assert reason_of_handshake(tls, lab.client(ca.issue("erin"))) is None


def test_a_leaf_is_no_ca(lab: TLSLab) -> None:
    """A leaf among the CAs is welcome itself, and issues to nobody."""
    mallory = lab.pki.elsewhere.issue("mallory")
    tls = lab.tls(client_ca=lab.write("leaf.pem", mallory.pem))
    key = generate_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(lab.pki.alice.certificate.subject)
        .issuer_name(mallory.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(mallory.certificate.not_valid_before_utc)
        .not_valid_after(mallory.certificate.not_valid_after_utc)
        .sign(mallory.key, hashes.SHA256())
    )
    below = IssuedCertificate(certificate=certificate, key=key, chain=(mallory.certificate,), root=certificate)
    assert reason_of_handshake(tls, lab.client(below))
    assert reason_of_handshake(tls, lab.client(lab.pki.stranger))
