"""`mtls-auth inspect` tells of any bytes what they are, whether they would do, and what to do about it."""

import base64
import io
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha1, sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mtls_auth.cli import inspection, main
from mtls_auth.cli.certificate_facts import CertificateFacts
from mtls_auth.cli.certificate_input import CertificateInput
from mtls_auth.cli.certificate_report import CertificateReport
from mtls_auth.cli.certificate_text import certificate_text
from mtls_auth.cli.certificate_warnings import certificate_warnings
from mtls_auth.cli.next_steps import next_step
from mtls_auth.errors import Reason
from mtls_auth.testing import CertificateAuthority, IssuedCertificate, generate_key
from tests.pki import HOSTILE_NAMES, BrokenLeaves

VECTORS = Path(__file__).parent.parent / "vectors"
HOSTILE = VECTORS / "hostile"
PASSWORD = "correct horse"

Line = dict[str, object]
Inspect = Callable[..., list[Line]]


@pytest.fixture
def alice(leaves: BrokenLeaves) -> IssuedCertificate:
    """A leaf with an intermediate, and e-mail, DNS and URI names."""
    return leaves.through_intermediate


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Inspect:
    """Run `inspect --json` on these bytes; return the lines. Nothing may come on stderr unless it is named."""

    def run(data: bytes, stderr: str = "") -> list[Line]:
        file = tmp_path / "file"
        file.write_bytes(data)
        status = main(["inspect", "--json", str(file)])
        captured = capsys.readouterr()
        assert status == 0
        assert stderr in captured.err if stderr else captured.err == ""
        return [json.loads(line) for line in captured.out.splitlines()]

    return run


def as_list(value: object) -> list[object]:
    """*value*, which must be a list."""
    assert isinstance(value, list)
    return value


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the clock of the subcommand: vectors are judged at their own time."""
    return lambda moment: monkeypatch.setattr(inspection, "utc_now", lambda: moment)


def index() -> list[dict[str, str]]:
    """The hostile certificates that are here, as the index describes them."""
    cases: list[dict[str, str]] = json.loads((HOSTILE / "index.json").read_text())["cases"]
    return [case for case in cases if case["file"].endswith(".der")]


JUDGED = datetime.fromisoformat(json.loads((HOSTILE / "index.json").read_text())["judge_at"])
CAPTURED = datetime(2026, 11, 22, tzinfo=UTC)
# Refused only by who knows the trust anchor, or by who asks for X.509 v3: as the warning says.
TAKEN_WITHOUT_TRUST = {"ok_v1.der", "sig_flipped.der", "sig_other_ca.der", "same_subject_other_ca.der"}


@pytest.mark.parametrize("case", index(), ids=lambda case: case["file"])
def test_hostile_certificates(case: dict[str, str], inspect: Inspect, at: Callable[[datetime], None]) -> None:
    """What no safe consumer takes is refused with a reason, what is fine is accepted, and nothing raises."""
    at(JUDGED)
    data = (HOSTILE / case["file"]).read_bytes()
    (line,) = inspect(data)

    assert line["fingerprint_sha256"] == (case["sha256"] if data else None)
    assert bool(line["detail"]) is not line["accepted"]
    assert (line["reason"] is None) is line["accepted"]
    if case["safe"] == "accept" or case["file"] in TAKEN_WITHOUT_TRUST:
        assert line["accepted"]
    elif case["safe"] == "reject":
        assert not line["accepted"]


@pytest.mark.parametrize("case", index(), ids=lambda case: case["file"])
def test_hostile_certificates_as_text(case: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """No name of a certificate writes control characters to the terminal."""
    assert main(["inspect", str(HOSTILE / case["file"])]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


def test_accepted_certificate(alice: IssuedCertificate, inspect: Inspect) -> None:
    """The line tells the names, the fingerprints in the usual forms, and what mappers would take."""
    (line,) = inspect(alice.pem)
    digest = sha256(alice.der).digest()

    assert line["accepted"] is True
    assert (line["reason"], line["detail"], line["warnings"]) == (None, "", [])
    assert line["fingerprint_sha256"] == digest.hex()
    assert line["fingerprint_sha1"] == sha1(alice.der, usedforsecurity=False).hexdigest()
    assert line["x5t_s256"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert line["subject_cn"] == "alice"
    assert line["subject"] == "CN=alice,OU=Ops"
    assert line["issuer"] == "CN=Test Intermediate CA"
    assert line["san"] == ["email:alice@example.com", "dns:alice.example.com", "uri:spiffe://example.com/alice"]
    assert line["serial"] == str(alice.certificate.serial_number)
    assert line["serial_hex"] == f"{alice.certificate.serial_number:x}"
    assert line["not_after"] == alice.certificate.not_valid_after_utc.isoformat()
    assert str(line["not_after"]).endswith("+00:00")
    assert (line["key_type"], line["key_bits"]) == ("EC secp256r1", 256)
    assert (line["key_usage"], line["extended_key_usage"]) == (["digitalSignature"], ["clientAuth"])
    assert line["mappers"] == {"ByFingerprint": digest.hex(), "ByCommonName": "alice"}


def test_text(alice: IssuedCertificate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json, every certificate is a paragraph; all forms of the fingerprints are there."""
    file = tmp_path / "alice.pem"
    file.write_bytes(alice.chain_pem)

    assert main(["inspect", str(file)]) == 0

    first, second = capsys.readouterr().out.split("\n\n")
    digest = sha256(alice.der)
    spki = sha256(alice.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    assert first.startswith(f"{file}, certificate 1: accepted")
    assert second.startswith(f"{file}, certificate 2: refused, wrong_key_usage")
    assert "what to do" in second
    assert digest.hexdigest() in first
    assert digest.digest().hex(":").upper() in first
    assert base64.b64encode(digest.digest()).decode() in first
    assert base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=") in first
    assert sha1(alice.der, usedforsecurity=False).digest().hex(":").upper() in first
    assert spki.hexdigest() in first
    assert f"sha256//{base64.b64encode(spki.digest()).decode()}" in first


REFUSED = [
    ("expired", Reason.EXPIRED, ["expired"]),
    ("not_yet_valid", Reason.NOT_YET_VALID, ["not yet valid"]),
    ("server_only", Reason.WRONG_KEY_USAGE, ["no clientAuth"]),
    ("without_name", Reason.UNUSABLE_NAME, []),
    ("two_common_names", Reason.UNUSABLE_NAME, []),
]


@pytest.mark.parametrize(("leaf", "reason", "warnings"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_leaves(leaf: str, reason: Reason, warnings: list[str], leaves: BrokenLeaves, inspect: Inspect) -> None:
    """A refused certificate keeps its facts, and no ambiguous common name."""
    issued = getattr(leaves, leaf)
    (line,) = inspect(issued.der)

    assert (line["accepted"], line["reason"]) == (False, reason.value)
    assert line["fingerprint_sha256"] == issued.fingerprint_sha256
    assert line["subject_cn"] == (None if reason is Reason.UNUSABLE_NAME else "alice")
    assert line["mappers"] == {}
    assert [str(text).partition(":")[0] for text in as_list(line["warnings"])] == warnings


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
def test_hostile_names_are_no_common_name(name: str, leaves: BrokenLeaves, inspect: Inspect) -> None:
    """A name that the policy refuses is refused, and does not appear as `subject_cn`."""
    (line,) = inspect(leaves.named(name).der)

    assert (line["accepted"], line["reason"], line["subject_cn"]) == (False, "unusable_name", None)


def test_mapper_that_refuses(leaves: BrokenLeaves, inspect: Inspect, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate may be fine and a mapper still not take its name: U+FF41 is another letter than a."""
    issued = leaves.named("\uff41lice")
    (line,) = inspect(issued.der)
    report = CertificateReport.of("-", 1, CertificateInput.read(issued.der).found[0], datetime.now(UTC))

    assert line["accepted"] is True
    assert line["mappers"] == {"ByFingerprint": issued.fingerprint_sha256, "ByCommonName": None}
    assert "ByCommonName takes  nothing: the common name changes under Unicode normalisation" in certificate_text(
        report
    )


def public_key(kind: str) -> CertificatePublicKeyTypes:
    """A public key of this kind; the small sizes are quick to make."""
    match kind:
        case "EC":
            return ec.generate_private_key(ec.SECP384R1()).public_key()
        case "DSA":
            return dsa.generate_private_key(1024).public_key()  # noqa: S505
        case "Ed448":
            return ed448.Ed448PrivateKey.generate().public_key()
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505


@pytest.mark.parametrize(
    ("kind", "key_type", "key_bits", "reason"),
    [
        ("EC", "EC secp384r1", 384, None),
        ("RSA", "RSA", 1024, None),
        ("Ed448", "Ed448", None, None),
        ("DSA", "DSA", 1024, "weak_key"),
    ],
)
def test_kinds_of_keys(kind: str, key_type: str, key_bits: int | None, reason: str | None, inspect: Inspect) -> None:
    """The kind and size of the key are told, also of a key that is refused."""
    (line,) = inspect(minted(public_key(kind)))

    assert (line["key_type"], line["key_bits"], line["reason"]) == (key_type, key_bits, reason)


def minted(key: CertificatePublicKeyTypes, *extensions: x509.ExtensionType) -> bytes:
    """The DER of a certificate of alice for any key."""
    name, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("alice", "CA"))
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, name, key, 1, now - timedelta(days=1), now + timedelta(days=90))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(generate_key(), hashes.SHA256()).public_bytes(Encoding.DER)


def test_expires_soon(leaves: BrokenLeaves, inspect: Inspect) -> None:
    """Thirty days before its end a certificate is warned about."""
    now = datetime.now(UTC)
    (soon,) = inspect(leaves.ca.issue("alice", not_after=now + timedelta(days=29)).der)
    (later,) = inspect(leaves.ca.issue("alice", not_after=now + timedelta(days=31)).der)

    assert soon["accepted"] is True
    assert str(soon["warnings"]).startswith("['expires soon: it ends")
    assert later["warnings"] == []


def test_real_certificates(inspect: Inspect, at: Callable[[datetime], None]) -> None:
    """Warnings of certificates as people make them: X.509 v1, SHA-1, no extendedKeyUsage."""
    at(CAPTURED)
    (legacy,) = inspect((VECTORS / "captures" / "legacy.pem").read_bytes())
    (old_hash,) = inspect((VECTORS / "captures" / "legacy-sha1.pem").read_bytes())
    (root,) = inspect((VECTORS / "captures" / "root.pem").read_bytes())

    assert legacy["accepted"] is True
    assert [str(text).partition(":")[0] for text in as_list(legacy["warnings"])] == ["X.509 v1", "no clientAuth"]
    assert "SHA-1 signature" in [str(text).partition(":")[0] for text in as_list(old_hash["warnings"])]
    assert (root["accepted"], root["reason"]) == (False, "wrong_key_usage")
    assert str(as_list(root["warnings"])[0]).startswith("CA certificate")


AT = datetime(2026, 6, 1, tzinfo=UTC)
WARNINGS = [
    pytest.param({"version": 1}, ["X.509 v1"], id="v1"),
    pytest.param({"signature_hash": "MD5"}, ["MD5 signature"], id="MD5"),
    pytest.param({"signature_hash": "SHA-1"}, ["SHA-1 signature"], id="SHA-1"),
    pytest.param({"signature_hash": "SHA-256"}, [], id="SHA-256"),
    pytest.param({"key_type": "RSA", "key_bits": 2047}, ["weak key"], id="RSA-2047"),
    pytest.param({"key_type": "RSA", "key_bits": 2048}, [], id="RSA-2048"),
    pytest.param({"key_type": "DSA", "key_bits": 3072}, ["weak key"], id="DSA"),
    pytest.param({"key_type": "EC secp192r1", "key_bits": 192}, ["weak key"], id="EC-192"),
    pytest.param({"key_type": "EC secp224r1", "key_bits": 224}, [], id="EC-224"),
    pytest.param({"key_type": "Ed25519"}, [], id="Ed25519"),
    pytest.param({"extended_key_usage": None}, ["no clientAuth"], id="no EKU"),
    pytest.param({"extended_key_usage": ("serverAuth",)}, ["no clientAuth"], id="other EKU"),
    pytest.param({"extended_key_usage": None, "extensions_readable": False}, [], id="extensions unreadable"),
    pytest.param({"key_usage": ("keyEncipherment",)}, ["no digitalSignature"], id="no digitalSignature"),
    pytest.param({"key_usage": ()}, ["no digitalSignature"], id="empty key usage"),
    pytest.param({"key_usage": ("keyAgreement",)}, [], id="keyAgreement"),
    pytest.param({"is_ca": True, "self_issued": True}, ["CA certificate"], id="CA"),
    pytest.param({"self_issued": True}, ["self-issued"], id="self-issued"),
    pytest.param({"not_before": AT + timedelta(days=1)}, ["not yet valid"], id="not yet valid"),
    pytest.param({"not_after": AT - timedelta(seconds=1)}, ["expired"], id="expired"),
    pytest.param({"not_after": AT}, ["expires soon"], id="last second"),
    pytest.param({"not_after": AT + timedelta(days=30)}, ["expires soon"], id="30 days"),
    pytest.param({"not_after": AT + timedelta(days=31)}, [], id="31 days"),
    pytest.param({"not_after": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)}, ["no expiry"], id="no expiry"),
]


@pytest.mark.parametrize(("facts", "keywords"), WARNINGS)
def test_warnings(facts: dict[str, object], keywords: list[str]) -> None:
    """Each warning starts with its keyword, and comes for exactly its fact."""
    usual: dict[str, object] = {"version": 3, "extensions_readable": True, "extended_key_usage": ("clientAuth",)}
    texts = certificate_warnings(CertificateFacts(**{**usual, **facts}), AT)  # type: ignore[arg-type]

    assert [text.partition(":")[0] for text in texts] == keywords


def test_weak_key(inspect: Inspect) -> None:
    """RSA-1024 is accepted by the loader and warned about; RSA-16384 is refused."""
    (small,) = inspect(minted(public_key("RSA")))
    (large,) = inspect((HOSTILE / "key_rsa_16384.der").read_bytes())

    assert small["accepted"] is True
    assert str(as_list(small["warnings"])[0]).startswith("weak key: RSA, 1024 bits")
    assert (large["accepted"], large["reason"]) == (False, "weak_key")


CONTAINERS: dict[str, Callable[[IssuedCertificate], bytes]] = {
    "DER": lambda issued: issued.der,
    "PEM": lambda issued: issued.pem,
    "PEM with CRLF": lambda issued: issued.pem.replace(b"\n", b"\r\n"),
    "PEM with text around": lambda issued: b"subject=CN = alice\n" + issued.pem + b"that was it\n",
    "PEM with byte order mark": lambda issued: b"\xef\xbb\xbf" + issued.pem,
    "PEM beside a request": lambda issued: (
        issued.pem + b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    ),
    "PKCS#7 DER": lambda issued: pkcs7.serialize_certificates([issued.certificate], Encoding.DER),
    "PKCS#7 PEM": lambda issued: pkcs7.serialize_certificates([issued.certificate], Encoding.PEM),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_containers(
    container: Callable[[IssuedCertificate], bytes], alice: IssuedCertificate, inspect: Inspect
) -> None:
    """The same certificate comes out of every container."""
    (line,) = inspect(container(alice))

    assert (line["accepted"], line["fingerprint_sha256"]) == (True, alice.fingerprint_sha256)


def test_every_certificate_of_a_file(alice: IssuedCertificate, leaves: BrokenLeaves, inspect: Inspect) -> None:
    """A broken block does not hide the others; each has its number."""
    broken = alice.pem.replace(b"M", b"!", 1)
    lines = inspect(alice.pem + broken + leaves.expired.pem + alice.pem[:-10])

    assert [line["index"] for line in lines] == [1, 2, 3, 4]
    assert [line["reason"] for line in lines] == [None, "malformed_certificate", "expired", "malformed_certificate"]
    assert "no END line" in str(lines[3]["detail"])


NO_CERTIFICATE = [
    pytest.param(b"", "the file is empty", id="empty"),
    pytest.param(b"\x00\x01\x02" * 100, "neither DER nor PEM", id="binary"),
    pytest.param(b"0 is where this text starts", "neither DER nor PEM", id="text"),
    pytest.param(
        b"  -----BEGIN CERTIFICATE-----\n  AAAA\n  -----END CERTIFICATE-----\n", "on a line of its own", id="indented"
    ),
    pytest.param(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "holds PUBLIC KEY", id="public key"),
    pytest.param(b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n", "PKCS#7", id="broken PKCS#7"),
]


@pytest.mark.parametrize(("data", "detail"), NO_CERTIFICATE)
def test_no_certificate(data: bytes, detail: str, inspect: Inspect) -> None:
    """A file without a certificate is one line without a fingerprint."""
    (line,) = inspect(data)

    assert (line["accepted"], line["reason"], line["fingerprint_sha256"]) == (False, "malformed_certificate", None)
    assert detail in str(line["detail"])
    assert (line["san"], line["warnings"]) == ([], [])


def test_broken_der_keeps_its_fingerprint(alice: IssuedCertificate, inspect: Inspect) -> None:
    """Bytes that look like DER are told by their hash."""
    broken = alice.der[:-1]
    pkcs7_cut = CONTAINERS["PKCS#7 DER"](alice)[:-9]

    for data in (broken, pkcs7_cut):
        (line,) = inspect(data)
        assert (line["reason"], line["fingerprint_sha256"]) == ("malformed_certificate", sha256(data).hexdigest())


def test_certificate_that_carries_pem(alice: IssuedCertificate, inspect: Inspect) -> None:
    """PEM inside of a DER certificate is not taken for the certificate."""
    comment = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), alice.pem)
    der = minted(alice.key.public_key(), comment)
    (line,) = inspect(der)

    assert line["fingerprint_sha256"] == sha256(der).hexdigest()


KEYS: dict[str, Callable[[IssuedCertificate], bytes]] = {
    "PEM": lambda issued: issued.key_pem,
    "PEM encrypted": lambda issued: issued.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode())
    ),
    "OpenSSH": lambda issued: issued.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    "DER": lambda issued: issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "DER SEC 1": lambda issued: issued.key.private_bytes(
        Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ),
    "DER encrypted": lambda issued: issued.key.private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode())
    ),
    "PKCS#12": lambda issued: issued.p12(PASSWORD, "alice"),
    "Java key store": lambda issued: b"\xfe\xed\xfe\xed" + issued.der,
    "mislabelled": lambda issued: issued.key_pem.replace(b"PRIVATE KEY", b"CERTIFICATE"),
}


@pytest.mark.parametrize("container", KEYS.values(), ids=KEYS.keys())
def test_private_key_is_never_shown(
    container: Callable[[IssuedCertificate], bytes], alice: IssuedCertificate, inspect: Inspect
) -> None:
    """A file with a private key alone is told as that; not even its hash is printed."""
    data = container(alice)
    (line,) = inspect(data, stderr="there is a private key in this file")

    assert (line["accepted"], line["reason"], line["fingerprint_sha256"]) == (False, "private_key", None)
    assert sha256(data).hexdigest() not in json.dumps(line)


def test_certificate_beside_its_key(
    alice: IssuedCertificate, inspect: Inspect, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate beside a private key is shown; the key is only mentioned."""
    (line,) = inspect(alice.key_pem + alice.pem, stderr="there is a private key in this file")

    assert (line["accepted"], line["fingerprint_sha256"]) == (True, alice.fingerprint_sha256)
    secret = alice.key_pem.decode().splitlines()[1]
    assert secret not in json.dumps(line)


def test_standard_input(
    alice: IssuedCertificate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-` is standard input; where that is closed, it is told."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(alice.der)))
    assert main(["inspect", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "-"

    monkeypatch.setattr(sys, "stdin", None)
    assert main(["inspect", "-"]) == 2
    assert "standard input is closed: pipe the file in" in capsys.readouterr().err


def test_unreadable_files(
    alice: IssuedCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file that cannot be read is one sentence with what to do and status 2; the others are shown."""
    good, locked = tmp_path / "good.der", tmp_path / "locked"
    good.write_bytes(alice.der)
    opened = Path.open

    def open_unless_locked(path: Path, mode: str) -> object:
        if path == locked:  # root may read everything, so a mode of 000 would not do
            raise PermissionError(13, "Permission denied")
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", open_unless_locked)
    files = [str(tmp_path / "missing"), str(tmp_path), str(locked), "a\0b", str(good)]

    assert main(["inspect", "--json", *files]) == 2

    captured = capsys.readouterr()
    assert json.loads(captured.out)["file"] == str(good)
    sentences = ["no such file: check", "a directory: name the files", "change its permissions", "it cannot be read"]
    assert len(captured.err.splitlines()) == len(sentences)
    for line, sentence in zip(captured.err.splitlines(), sentences, strict=True):
        assert sentence in line


def test_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Something endless is not read to its end."""
    monkeypatch.setattr(inspection, "MAX_FILE_BYTES", 1000)
    (tmp_path / "large").write_bytes(b"0" * 1001)

    assert main(["inspect", str(tmp_path / "large")]) == 2
    assert "larger than 16 MiB" in capsys.readouterr().err


def test_name_that_is_no_text(alice: IssuedCertificate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file name that is not UTF-8 is printed with escapes."""
    file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[2J.der")
    Path(file).write_bytes(alice.der)

    assert main(["inspect", file]) == 0
    assert main(["inspect", "--json", file]) == 0

    out = capsys.readouterr().out
    assert r"\udcff\x1b[2J.der, certificate 1" in out
    assert "\x1b" not in out


def test_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters that the output cannot encode are escaped."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)

    assert main(["inspect", str(HOSTILE / "ok_utf8_names.der")]) == 0
    stdout.seek(0)
    assert r"CN=\u5c71\u7530\u592a\u90ce" in stdout.read()


def test_every_reason_of_a_certificate_has_a_next_step() -> None:
    """What the core refuses before mapping comes with advice; for the rest there is the documentation."""
    told = [reason for reason in Reason if "documentation" not in next_step(reason)]

    assert set(told) >= {Reason.MALFORMED_HEADER, Reason.MALFORMED_CERTIFICATE, Reason.UNTRUSTED, Reason.WEAK_KEY}
    assert Reason.NOT_ENROLLED not in told


SEEDS = [path.read_bytes() for path in sorted(HOSTILE.glob("*.der")) if path.stat().st_size < 4096]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A hostile certificate with a few bytes more, fewer or different."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@given(data=damaged() | st.binary(max_size=64))
@example(data=b"0")
@example(data=b"0\x80")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_bytes_raise(data: bytes) -> None:
    """Whatever the bytes are, there is a report in both forms."""
    for index, found in enumerate(CertificateInput.read(data).found):
        report = CertificateReport.of("-", index, found, AT)
        json.dumps(report.as_json())
        assert all(line.isprintable() for line in certificate_text(report).split("\n"))


def test_authority_is_warned_about(inspect: Inspect) -> None:
    """A CA's own certificate is no client certificate."""
    (line,) = inspect(CertificateAuthority().pem)

    assert (line["accepted"], line["reason"], line["ca"]) == (False, "wrong_key_usage", True)
