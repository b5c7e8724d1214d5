"""The test kit mints certificates that TLS stacks, parsers and key stores accept."""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from mtls_auth.testing import (
    CLIENT_AUTH,
    SERVER_AUTH,
    CertificateAuthority,
    IssuedCertificate,
    KeyType,
    client_cert_field,
    escaped_pem,
)
from tests.integration.servers import requires
from tests.pki import AWKWARD_NAMES, HOSTILE_NAMES, BrokenLeaves, TutorialPKI

KEY_TYPES: tuple[KeyType, ...] = ("ec", "rsa", "ed25519")


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    """One root for the module."""
    return CertificateAuthority()


@pytest.fixture(scope="module")
def leaves(ca: CertificateAuthority) -> BrokenLeaves:
    """The leaves of that root."""
    return BrokenLeaves(ca)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> TutorialPKI:
    """One tutorial PKI for the module."""
    requires("openssl")
    return TutorialPKI(tmp_path_factory.mktemp("tutorial"))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes | None:
    """Shake hands in memory and return the client's certificate as the server sees it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_end = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [client_end, server_end]
    for _ in range(10):
        for end in list(pending):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(end)
        if not pending:
            return server_end.getpeercert(binary_form=True)
    raise AssertionError("the handshake did not end")


def contexts(
    ca: CertificateAuthority, client: IssuedCertificate, directory: Path
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context that requires a certificate of *ca*, and a client's that presents one."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*ca.issue_server("localhost", "127.0.0.1").write(directory, "server"))
    server_context.load_verify_locations(cadata=ca.pem.decode())
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = ssl.create_default_context(cadata=ca.pem.decode())
    client_context.load_cert_chain(*client.write(directory, "client"))
    return server_context, client_context


@pytest.mark.parametrize("ca_key_type", KEY_TYPES)
@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_handshake(key_type: KeyType, ca_key_type: KeyType, tmp_path: Path) -> None:
    """A TLS server accepts a client certificate of every key type from a root of every key type."""
    ca = CertificateAuthority(key_type=ca_key_type)
    alice = ca.issue("alice", key_type=key_type)

    seen = handshake(*contexts(ca, alice, tmp_path))

    assert seen == alice.der


def test_handshake_through_intermediate(ca: CertificateAuthority, leaves: BrokenLeaves, tmp_path: Path) -> None:
    """The chain file carries the intermediate: a server that knows the root alone accepts the leaf."""
    alice = leaves.through_intermediate

    seen = handshake(*contexts(ca, alice, tmp_path))

    assert seen == alice.der
    assert len(x509.load_pem_x509_certificates(alice.chain_pem)) == 2


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("server_only", "unsuitable certificate purpose|unsupported certificate purpose"),
        ("impostor", "self-signed certificate"),
        ("from_impostor_ca", "unable to get local issuer certificate|certificate signature failure"),
    ],
)
def test_handshake_refused(
    leaf: str, message: str, ca: CertificateAuthority, leaves: BrokenLeaves, tmp_path: Path
) -> None:
    """OpenSSL refuses each broken leaf for the very reason that it is broken."""
    with pytest.raises(ssl.SSLCertVerificationError, match=message):
        handshake(*contexts(ca, getattr(leaves, leaf), tmp_path))


def test_leaf_extensions(ca: CertificateAuthority) -> None:
    """A leaf is v3 and carries key identifiers, constraints, usages and the names that were given."""
    san = x509.RFC822Name("alice@example.com")
    alice = ca.issue("alice", organizational_unit="Ops", san=[san])
    certificate, extensions = alice.certificate, alice.certificate.extensions
    issuer_ski = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value

    assert certificate.version is x509.Version.v3
    assert certificate.subject.rfc4514_string() == "CN=alice,OU=Ops"
    assert certificate.issuer == ca.certificate.subject
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == issuer_ski.digest
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [CLIENT_AUTH]
    assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [san]
    assert not extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_leaf_without_extras(leaves: BrokenLeaves) -> None:
    """A leaf may lack extended key usage and every name."""
    assert x509.ExtendedKeyUsage.oid not in {entry.oid for entry in leaves.without_eku.certificate.extensions}
    assert list(leaves.without_name.certificate.subject) == []
    assert x509.SubjectAlternativeName.oid not in {entry.oid for entry in leaves.without_name.certificate.extensions}


def test_san_is_critical_without_subject(ca: CertificateAuthority) -> None:
    """RFC 5280 §4.2.1.6: the SAN of a certificate with an empty subject is critical."""
    certificate = ca.issue(san=[x509.DNSName("a.example")]).certificate

    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_server_names(ca: CertificateAuthority) -> None:
    """A server certificate holds DNS names and addresses in their own kinds, and serverAuth alone."""
    extensions = ca.issue_server("localhost", "127.0.0.1", "::1").certificate.extensions
    san = extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert san.get_values_for_type(x509.DNSName) == ["localhost"]
    assert san.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [SERVER_AUTH]


def test_validity(ca: CertificateAuthority) -> None:
    """A date given alone moves the other one, so that the period is never empty."""
    now = datetime.now(UTC).replace(microsecond=0)
    begins_late = ca.issue("alice", not_before=now + timedelta(days=200)).certificate
    ended = ca.issue("alice", not_after=now - timedelta(days=3)).certificate
    exact = ca.issue("alice", not_before=now, not_after=now + timedelta(seconds=5)).certificate

    assert begins_late.not_valid_after_utc == now + timedelta(days=290)
    assert ended.not_valid_before_utc == now - timedelta(days=4)
    assert (exact.not_valid_before_utc, exact.not_valid_after_utc) == (now, now + timedelta(seconds=5))


def test_chain_of_intermediates(ca: CertificateAuthority) -> None:
    """The chain runs from the issuer of the leaf upward and leaves the root out."""
    upper = ca.intermediate("Upper CA")
    lower = upper.intermediate("Lower CA", key_type="rsa")
    alice = lower.issue("alice")

    assert ca.issue("alice").chain == ()
    assert alice.chain == (lower.certificate, upper.certificate)
    assert alice.root == ca.certificate
    for issued, issuer in zip((alice.certificate, *alice.chain), (*alice.chain, alice.root), strict=True):
        issued.verify_directly_issued_by(issuer)


def test_path_validation(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """The strict verifier of cryptography accepts the kit's chains."""
    verifier = x509.verification.PolicyBuilder().store(x509.verification.Store([ca.certificate]))
    alice = leaves.through_intermediate

    verified = verifier.build_client_verifier().verify(alice.certificate, list(alice.chain))

    assert verified.chain == [alice.certificate, *alice.chain, ca.certificate]


def test_encodings_round_trip(ca: CertificateAuthority) -> None:
    """PEM, DER, key and fingerprint all belong to the one certificate."""
    alice = ca.issue("alice")
    key = serialization.load_pem_private_key(alice.key_pem, None)

    assert x509.load_pem_x509_certificate(alice.pem) == alice.certificate
    assert x509.load_der_x509_certificate(alice.der) == alice.certificate
    assert key.public_key() == alice.certificate.public_key()
    assert alice.chain_pem == alice.pem
    assert len(alice.fingerprint_sha256) == 64
    assert x509.load_der_x509_certificate(ca.der) == x509.load_pem_x509_certificate(ca.pem)


def test_written_key_is_private(ca: CertificateAuthority, tmp_path: Path) -> None:
    """Nobody but the owner may read the key file."""
    certificate, key = ca.issue("alice").write(tmp_path, "alice")

    assert certificate.name == "alice.pem"
    assert key.stat().st_mode & 0o777 == 0o600


def test_escaped_pem(ca: CertificateAuthority) -> None:
    """The header text of nginx is the whole PEM, last newline included, every reserved character escaped."""
    alice = ca.issue("alice")
    text = escaped_pem(alice.der)

    assert text.startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert text.endswith("%0A-----END%20CERTIFICATE-----%0A")
    assert not set(text) & set("+/= \n")
    assert unquote(text).encode() == alice.pem


def test_client_cert_field() -> None:
    """The field value of RFC 9440 is base64 between colons."""
    assert client_cert_field(b"\xfb\xff\x00") == ":+/8A:"


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_p12(key_type: KeyType, ca: CertificateAuthority) -> None:
    """PKCS#12 gives back the key, the leaf under its name, the intermediate and the root."""
    issuing = ca.intermediate()
    alice = issuing.issue("alice", key_type=key_type)
    bundle = pkcs12.load_pkcs12(alice.p12("secret", "Zoë's card"), b"secret")

    assert bundle.key is not None
    assert bundle.key.public_key() == alice.certificate.public_key()
    assert bundle.cert == pkcs12.PKCS12Certificate(alice.certificate, "Zoë's card".encode())
    assert [extra.certificate for extra in bundle.additional_certs] == [issuing.certificate, ca.certificate]


def test_p12_is_read_by_openssl(ca: CertificateAuthority, tmp_path: Path) -> None:
    """`openssl pkcs12` reads it without the legacy provider."""
    path = tmp_path / "alice.p12"
    path.write_bytes(ca.issue("alice").p12("secret", "alice"))
    command = [requires("openssl"), "pkcs12", "-info", "-noout", "-in", str(path), "-passin", "pass:secret"]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert "pbeWithSHA1And3-KeyTripleDES-CBC" in result.stderr


@pytest.mark.skipif(shutil.which("pk12util") is None, reason="pk12util is optional")
@pytest.mark.parametrize("key_type", ["ec", "rsa"])
def test_p12_is_imported_by_nss(key_type: KeyType, ca: CertificateAuthority, tmp_path: Path) -> None:
    """NSS, the key store of Firefox and of Chromium on Linux, imports it."""
    path = tmp_path / "alice.p12"
    path.write_bytes(ca.issue("alice", key_type=key_type).p12("secret", "alice"))
    pk12util, database = requires("pk12util"), f"sql:{tmp_path}"
    subprocess.run([requires("certutil"), "-N", "-d", database, "--empty-password"], check=True)

    subprocess.run([pk12util, "-i", path, "-d", database, "-W", "secret"], check=True)


@pytest.mark.skipif(shutil.which("keytool") is None, reason="keytool is optional")
@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_p12_is_read_by_java(key_type: KeyType, ca: CertificateAuthority, tmp_path: Path) -> None:
    """Java's keytool reads key and chain from it."""
    path = tmp_path / "alice.p12"
    path.write_bytes(ca.issue("alice", key_type=key_type).p12("secret", "alice"))
    command = [requires("keytool"), "-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12"]

    result = subprocess.run(
        [*command, "-keystore", str(path), "-storepass", "secret"], capture_output=True, text=True, check=True
    )

    assert "Entry type: PrivateKeyEntry" in result.stdout
    assert "Certificate chain length: 2" in result.stdout


@pytest.mark.parametrize("name", [*AWKWARD_NAMES.values(), *HOSTILE_NAMES.values()], ids=ascii)
def test_names_survive(name: str, leaves: BrokenLeaves) -> None:
    """The kit signs every name as it stands."""
    certificate = x509.load_der_x509_certificate(leaves.named(name).der)

    assert [cn.value for cn in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [name]


@pytest.mark.parametrize("leaf", ["two_common_names", "two_common_names_in_one_rdn"])
def test_two_common_names(leaf: str, leaves: BrokenLeaves) -> None:
    """Two common names are two, in one RDN or in two."""
    subject = getattr(leaves, leaf).certificate.subject

    assert {cn.value for cn in subject.get_attributes_for_oid(NameOID.COMMON_NAME)} == {"alice", "admin"}


def test_impostors_share_the_names(ca: CertificateAuthority, leaves: BrokenLeaves) -> None:
    """Names cannot tell an impostor from the real one, the signature can."""
    impostor, from_ca = leaves.impostor.certificate, leaves.from_impostor_ca.certificate

    assert impostor.subject == from_ca.subject == leaves.good.certificate.subject
    assert from_ca.issuer == ca.certificate.subject
    impostor.verify_directly_issued_by(impostor)


def test_tutorial_certificates_have_no_client_usage(tutorial: TutorialPKI) -> None:
    """Tutorials write neither usage nor SAN, and X.509 v1 with the OpenSSL of long-term distributions."""
    certificates = [client.load() for client in tutorial.clients.values()]
    ca = x509.load_pem_x509_certificate(tutorial.ca.read_bytes())

    for certificate in certificates:
        certificate.verify_directly_issued_by(ca)
        present = {extension.oid for extension in certificate.extensions}
        assert not present & {x509.ExtendedKeyUsage.oid, x509.KeyUsage.oid, x509.SubjectAlternativeName.oid}
        assert certificate.version is (x509.Version.v3 if present else x509.Version.v1)
    assert len({certificate.serial_number for certificate in certificates}) == 2


def test_tutorial_p12(tutorial: TutorialPKI) -> None:
    """The tutorial's PKCS#12 holds the client certificate alone."""
    client = tutorial.clients["alice"]
    bundle = pkcs12.load_pkcs12(client.p12.read_bytes(), tutorial.P12_PASSWORD.encode())

    assert bundle.cert is not None
    assert bundle.cert.certificate == client.load()
    assert bundle.additional_certs == []
