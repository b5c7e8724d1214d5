"""`ServerTLS`: what is wrong with its parameters, and what its contexts do in real handshakes."""

import copy
import pickle
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from mtls_auth import ConfigurationError, Reason, ServerTLS
from mtls_auth.handshakes import Logged
from tests.core.tls_lab import LOCALHOST, Memory, TLSLab, certificate_of

Changes = Callable[[TLSLab], dict[str, Any]]


def problems_of(lab: TLSLab, **changes: Any) -> tuple[str, ...]:
    """Return what is said of parameters with these changes, without the directory."""
    with pytest.raises(ConfigurationError) as raised:
        lab.tls(**changes)
    return tuple(problem.replace(f"{lab.directory}/", "") for problem in raised.value.problems)


def encrypted_key(lab: TLSLab, password: bytes) -> Path:
    """Write the server's key, encrypted."""
    encryption = BestAvailableEncryption(password)
    return lab.write("encrypted.key", lab.pki.server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def of_version_six(der: bytes) -> bytes:
    """Return a certificate that is of X.509 version 6, which there is not, in PEM."""
    three, six = bytes.fromhex("a003020102"), bytes.fromhex("a003020105")
    return ssl.DER_cert_to_PEM_cert(der.replace(three, six, 1)).encode()


WRONG: dict[str, tuple[Changes, str]] = {
    "no certificate": (
        lambda lab: {"certificate": lab.directory / "none.pem"},
        "certificate none.pem: No such file or directory",
    ),
    "no key": (lambda lab: {"key": str(lab.directory / "none.key")}, "key none.key: No such file or directory"),
    "no CA": (lambda lab: {"client_ca": lab.directory / "none"}, "client CA none: No such file or directory"),
    "no CRL": (lambda lab: {"crl": lab.directory / "none"}, "CRL none: No such file or directory"),
    "a directory": (
        lambda lab: {"client_ca": lab.write("x", b"").parent},
        "client CA {directory}: Is a directory",
    ),
    "a certificate without PEM": (
        lambda lab: {"certificate": lab.write("der", lab.pki.server.der)},
        "certificate der: there is no certificate in PEM in it",
    ),
    "a key without PEM": (
        lambda lab: {"key": lab.write("text", b"not a key")},
        "key text of certificate server.pem: ",
    ),
    "another's key": (
        lambda lab: {"key": lab.pki.alice.write(lab.directory, "alice")[1]},
        "key alice.key of certificate server.pem: key values mismatch",
    ),
    "an encrypted key": (
        lambda lab: {"key": encrypted_key(lab, b"open sesame")},
        "key encrypted.key of certificate server.pem: it is encrypted: give key_password",
    ),
    "a wrong password": (
        lambda lab: {"key": encrypted_key(lab, b"open sesame"), "key_password": "wrong"},
        "key encrypted.key of certificate server.pem: ",
    ),
    "a CA file without certificates": (
        lambda lab: {"client_ca": lab.write("empty.pem", b"")},
        "client CA empty.pem: there is no certificate in PEM in it",
    ),
    "a CA file with a CRL": (
        lambda lab: {"client_ca": lab.revoke()},
        "client CA crl.pem: there is no certificate in PEM in it",
    ),
    "a CRL file without a CRL": (
        lambda lab: {"crl": lab.client_ca},
        "CRL client-ca.pem: there is no X509 CRL in PEM in it",
    ),
    "a broken CRL": (
        lambda lab: {"crl": lab.write("crl.pem", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")},
        "CRL crl.pem: ",
    ),
    "a delta CRL": (
        lambda lab: {"crl": lab.revoke(delta=True)},
        "CRL crl.pem: the list of CN=Test CA is a delta CRL: give complete lists",
    ),
    "ciphers": (lambda lab: {"ciphers": "NO-SUCH-CIPHER"}, "ciphers NO-SUCH-CIPHER: No cipher can be selected"),
    "a certificate of no known version": (
        lambda lab: {"certificate": lab.write("v.pem", of_version_six(lab.pki.server.der))},
        "certificate v.pem: 5 is not a valid X509 version",
    ),
    "a CA of no known version": (
        lambda lab: {"client_ca": lab.write("v.pem", of_version_six(lab.pki.ca.der))},
        "client CA v.pem: 5 is not a valid X509 version",
    ),
    "TLS 1.0": (
        lambda lab: {"minimum_version": ssl.TLSVersion.TLSv1},
        "minimum_version: give ssl.TLSVersion.TLSv1_2 or TLSv1_3: older ones are broken (RFC 8996)",
    ),
    "the lowest version": (
        lambda lab: {"minimum_version": ssl.TLSVersion.MINIMUM_SUPPORTED},
        "minimum_version: give ssl.TLSVersion.TLSv1_2 or TLSv1_3",
    ),
    "a version in text": (lambda lab: {"minimum_version": "TLSv1.2"}, "minimum_version: give ssl.TLSVersion.TLSv1_2"),
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    WRONG.values(),
    ids=WRONG,
)
def test_what_is_wrong(lab: TLSLab, changes: Changes, problem: str) -> None:
    """Each wrong parameter is one problem that names the file or the parameter, and what to do."""
    (found,) = problems_of(lab, **changes(lab))
    assert found.startswith(problem.replace("{directory}", str(lab.directory)))
    assert len(found) > len(problem) or not problem.endswith(": "), "a reason follows"


@pytest.mark.parametrize("name", ["a key without PEM", "a wrong password"])
def test_problems_are_in_words(lab: TLSLab, name: str) -> None:
    """What OpenSSL has no word for is said all the same, not as a place in Python's source."""
    (problem,) = problems_of(lab, **WRONG[name][0](lab))
    assert "ssl.c" not in problem


def test_everything_at_once(lab: TLSLab) -> None:
    """Every problem is reported, not the first one."""
    problems = problems_of(
        lab,
        certificate=lab.directory / "1",
        key=lab.directory / "2",
        client_ca=lab.directory / "3",
        crl=lab.directory / "4",
        ciphers="5",
        minimum_version=ssl.TLSVersion.TLSv1_1,
    )
    assert [problem.partition(":")[0] for problem in problems] == [
        "certificate 1",
        "key 2",
        "ciphers 5",
        "minimum_version",
        "client CA 3",
        "CRL 4",
    ]


def test_secrets_are_not_said(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the password nor the key is in a problem, in the text of the object, or in the log."""
    key = encrypted_key(lab, b"open sesame")
    (problem,) = problems_of(lab, key=key, key_password="hush hush")
    tls = lab.tls(key=key, key_password="open sesame")
    for text in (problem, repr(tls), str(tls), caplog.text):
        assert "hush" not in text
        assert "sesame" not in text
        assert "PRIVATE" not in text


def test_an_encrypted_key(lab: TLSLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right password opens it; nobody is asked for one at a terminal, which would not be answered."""
    monkeypatch.setattr(sys, "stdin", None)
    tls = lab.tls(key=encrypted_key(lab, b"open sesame"), key_password="open sesame")
    assert certificate_of(tls.context()) == lab.pki.server.der
    assert lab.tls(key_password="of no use").context()


def test_a_value(lab: TLSLab) -> None:
    """The parameters are a value: they do not change, are equal, a key of dictionaries, and go to other processes."""
    tls = lab.tls(crl=lab.revoke(), required=True, key_password="x")
    with pytest.raises(AttributeError):
        tls.required = False  # type: ignore[misc]
    assert tls == lab.tls(crl=tls.crl, required=True, key_password="x")
    assert tls != lab.tls(crl=tls.crl, required=True, key_password="y")
    assert {tls: 1}[pickle.loads(pickle.dumps(tls))] == 1  # noqa: S301
    assert copy.deepcopy(tls) == tls
    assert tls.files == (lab.certificate, lab.key, lab.client_ca, tls.crl)
    assert lab.tls().files == (lab.certificate, lab.key, lab.client_ca)
    with pytest.raises(TypeError):
        ServerTLS(lab.certificate, lab.key, lab.client_ca)  # type: ignore[call-arg]


def test_the_server_s_own_chain(lab: TLSLab) -> None:
    """A server below an intermediate sends it along, to clients that know the root."""
    below = lab.pki.ca.intermediate().issue_server("localhost", LOCALHOST)
    certificate, key = below.write(lab.directory, "below")
    Memory(lab.tls(certificate=certificate, key=key).context(), lab.client()).shake_hands()


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), None), (("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (["h2"], "h2")]
)
def test_alpn(lab: TLSLab, offered: tuple[str, ...], chosen: str | None) -> None:
    """The server chooses among its protocols in its own order; without any it does not take part."""
    client = lab.client()
    client.set_alpn_protocols(["http/1.1", "h2"])
    connection = Memory(lab.tls().context(offered), client).shake_hands()
    assert connection.server.selected_alpn_protocol() == chosen


def conf(*http_protocols: str) -> SimpleNamespace:
    """Return as much of gunicorn's configuration as is read."""
    return SimpleNamespace(http_protocols=list(http_protocols))


def no_default() -> ssl.SSLContext:
    """Be the factory of a server's own context, which nobody wants."""
    raise AssertionError("not called")


def test_gunicorn(lab: TLSLab) -> None:
    """gunicorn asks at each connection, and has the same context for the same parameters, with its ALPN."""
    tls = lab.tls()
    context = tls.gunicorn(conf("h1"), no_default)
    assert tls.gunicorn(conf("h1"), no_default) is context
    assert lab.tls().gunicorn(conf("h1"), no_default) is context
    assert lab.tls(required=True).gunicorn(conf("h1"), no_default) is not context
    both = tls.gunicorn(conf("h2", "h1"), no_default)
    assert both is not context
    client = lab.client()
    client.set_alpn_protocols(["http/1.1", "h2"])
    assert Memory(context, client).shake_hands().server.selected_alpn_protocol() is None
    assert Memory(both, client).shake_hands().server.selected_alpn_protocol() == "h2"
    quic = tls.gunicorn(conf("h3", "h2"), no_default)
    assert Memory(quic, client).shake_hands().server.selected_alpn_protocol() == "h2"


def test_uvicorn(lab: TLSLab) -> None:
    """uvicorn's ALPN is that of its protocol class, which it has only where it speaks HTTP/2."""
    client = lab.client()
    client.set_alpn_protocols(["http/1.1", "h2"])
    for protocol, chosen in ((SimpleNamespace(), None), (SimpleNamespace(alpn_protocols=["h2", "http/1.1"]), "h2")):
        context = lab.tls().uvicorn(SimpleNamespace(http_protocol_class=protocol), no_default)
        assert Memory(context, client).shake_hands().server.selected_alpn_protocol() == chosen


def test_a_context_cannot_be_changed(lab: TLSLab) -> None:
    """What would be set on it would not be heeded, so that it fails."""
    context: Any = lab.tls().context()
    client = lab.client(lab.pki.alice)
    for change in (
        lambda: context.load_cert_chain(lab.certificate, lab.key),
        lambda: context.load_verify_locations(cadata=lab.pki.elsewhere.der),
        context.load_default_certs,
        lambda: context.set_ciphers("DEFAULT"),
        lambda: context.set_alpn_protocols(["h2"]),
    ):
        with pytest.raises(TypeError, match="this context comes from a ServerTLS: set it there"):
            change()
    with pytest.raises(AttributeError):
        context.verify_mode = ssl.CERT_NONE
    assert Memory(context, client).shake_hands().server.getpeercert(True) == lab.pki.alice.der


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verify_flags", ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF),
        ("minimum_version", ssl.TLSVersion.TLSv1_3),
        ("maximum_version", ssl.TLSVersion.TLSv1_2),
        ("options", ssl.OP_NO_TICKET),
        ("sni_callback", lambda *_: None),
        ("post_handshake_auth", True),
    ],
)
def test_attributes_cannot_be_changed(lab: TLSLab, name: str, value: object) -> None:
    """An attribute that has no effect cannot be set."""
    with pytest.raises((AttributeError, TypeError)):
        setattr(lab.tls().context(), name, value)


def test_without_log(lab: TLSLab, caplog: pytest.LogCaptureFixture) -> None:
    """Without `log_failures` nothing is logged, and the objects of the connections are Python's own."""
    client = lab.client(lab.pki.stranger)
    for logged in (True, False):
        context = lab.tls(log_failures=logged).context()
        connection = Memory(context, client)
        assert isinstance(connection.server, Logged) is logged
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.shake_hands()
    (record,) = caplog.records
    assert record.__dict__["reason"] == Reason.UNTRUSTED


def test_the_files_of_clients(lab: TLSLab) -> None:
    """Whom the files trust is read with every problem of these files, when they change as well."""
    tls = lab.tls(crl=lab.revoke(lab.pki.alice))
    trust = tls.load().trust
    assert trust.authorities == {lab.pki.ca.certificate}
    assert trust.revoked is not None
    assert list(trust.revoked.values()) == [{lab.pki.alice.certificate.serial_number}]
    lab.write("client-ca.pem", b"")
    lab.write("crl.pem", b"")
    with pytest.raises(ConfigurationError) as raised:
        tls.load()
    assert len(raised.value.problems) == 2


def test_a_renewed_certificate(lab: TLSLab, clock: Any) -> None:
    """A new certificate with its key is in force for new connections, without a restart."""
    context = lab.tls().context()
    assert certificate_of(context) == lab.pki.server.der
    lab.write("server.pem", lab.pki.renewed.chain_pem)
    lab.write("server.key", lab.pki.renewed.key_pem)
    assert certificate_of(context) == lab.pki.server.der
    clock.now += 1
    assert certificate_of(context) == lab.pki.renewed.der
