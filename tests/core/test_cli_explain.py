"""`mtls-auth explain` decides about captured requests as the application would, and says why."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_auth.cli import main
from mtls_auth.testing import IssuedCertificate, client_cert_field, escaped_pem
from tests.pki import BrokenLeaves

CAPTURES = Path(__file__).parent.parent / "vectors" / "captures"
CAPTURED = "2026-11-22T00:00:00Z"
KEYS = ["file", "decision", "reason", "detail", "fingerprint_sha256", "subject_cn", "assurance", "stripped"]
NAMES = ("--header", "leaf=ssl-client-cert", "--header", "verdict=ssl-client-verify")
LOCAL = ("--trust", "127.0.0.1", "--peer", "127.0.0.1")

Explain = Callable[..., dict[str, object]]


@pytest.fixture
def alice(leaves: BrokenLeaves) -> IssuedCertificate:
    """A client certificate of alice."""
    return leaves.good


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Explain:
    """Run `explain --json` on one file; return the values of the line. Nothing may come on stderr."""

    def run(*arguments: str | Path) -> dict[str, object]:
        status = main(["explain", "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        assert (status, captured.err) == (0, "")
        values: dict[str, object] = json.loads(captured.out)
        assert list(values) == KEYS
        return values

    return run


def fingerprint(file: str) -> str:
    """The SHA-256 of the first certificate of a capture's PEM file."""
    certificate = x509.load_pem_x509_certificates((CAPTURES / file).read_bytes())[0]
    return certificate.fingerprint(hashes.SHA256()).hex()


def request(path: Path, *headers: str) -> Path:
    """Write the head of a request with these header lines."""
    path.write_bytes("\r\n".join(("GET / HTTP/1.1", "Host: a", *headers, "", "")).encode("latin-1"))
    return path


# capture, decision, reason, certificate
DECISIONS = [
    ("nginx__modern.http", "authenticated", None, "modern.pem"),
    ("nginx__modern__required.http", "authenticated", None, "modern.pem"),
    ("nginx__modern__optional_no_ca.http", "authenticated", None, "modern.pem"),
    ("nginx-1.26__modern.http", "authenticated", None, "modern.pem"),
    ("nginx-1.31__modern.http", "authenticated", None, "modern.pem"),
    ("nginx__legacy.http", "authenticated", None, "legacy.pem"),
    ("nginx__legacy-sha1__seclevel0.http", "authenticated", None, "legacy-sha1.pem"),
    ("nginx__big.http", "authenticated", None, "big.pem"),
    ("nginx__ed25519.http", "authenticated", None, "ed25519.pem"),
    ("nginx__nocert.http", "anonymous", "no_certificate", None),
    ("nginx__nocert__optional_no_ca.http", "anonymous", "no_certificate", None),
    ("nginx__nocert__folded.http", "anonymous", "no_certificate", None),
    ("nginx-1.31__nocert.http", "anonymous", "no_certificate", None),
    ("nginx__modern__folded.http", "denied", "malformed_header", None),
    ("nginx-1.31__modern__folded.http", "denied", "malformed_header", None),
    ("nginx__modern__rawpem.http", "denied", "malformed_header", None),
    ("nginx__short-tlsv1_3-resumed-after-expiry.http", "denied", "expired", "short.pem"),
    ("nginx__forged-exact-modern.http", "authenticated", None, "modern.pem"),
    ("nginx__forged-exact-nocert.http", "anonymous", "no_certificate", None),
    ("nginx__forged-exact-modern__inherit-lost.http", "denied", "proxy_rejected", None),
    ("nginx__forged-exact-nocert__inherit-lost.http", "denied", "proxy_rejected", None),
    ("nginx__forged-dup-nocert__inherit-lost.http", "denied", "ambiguous_header", None),
    ("nginx__forged-underscore-modern__underscores_on.http", "denied", "ambiguous_header", None),
    ("nginx__forged-underscore-nocert__ignore_invalid_off.http", "denied", "ambiguous_header", None),
    ("nginx__forged-h2-underscore-modern__underscores_on.http", "denied", "ambiguous_header", None),
]


@pytest.mark.parametrize(("file", "decision", "reason", "pem"), DECISIONS, ids=[row[0] for row in DECISIONS])
def test_captures(file: str, decision: str, reason: str | None, pem: str | None, explain: Explain) -> None:
    """Real requests of nginx: its certificate and no other, and never a forged value."""
    values = explain("--dialect", "nginx", *NAMES, *LOCAL, "--at", CAPTURED, CAPTURES / file)

    assert (values["decision"], values["reason"]) == (decision, reason)
    assert values["fingerprint_sha256"] == (fingerprint(pem) if pem else None)
    assert values["assurance"] == ("proxy_verdict" if pem else None)
    assert bool(values["detail"]) is (decision != "authenticated")
    assert "FORGED" not in json.dumps(values)


@pytest.mark.parametrize("file", [row[0] for row in DECISIONS])
def test_untrusted_peer_is_never_believed(file: str, explain: Explain) -> None:
    """From another peer, no capture authenticates; the reason tells why the headers were ignored."""
    arguments = ("--trust", "10.0.0.0/8", "--peer", "203.0.113.9", "--at", CAPTURED)
    values = explain("--dialect", "nginx", *NAMES, *arguments, CAPTURES / file)

    assert values["fingerprint_sha256"] is None
    if values["reason"] != "malformed_header":
        assert values["decision"] == "anonymous"
        assert "203.0.113.9, which is no trusted proxy" in str(values["detail"])


def test_stripped_names_are_as_received(explain: Explain) -> None:
    """Every spelling of every known header is removed, once each, in order."""
    file = CAPTURES / "nginx__forged-underscore-modern__underscores_on.http"
    stripped = explain("--dialect", "nginx", *NAMES, *LOCAL, "--at", CAPTURED, file)["stripped"]

    assert isinstance(stripped, list)
    assert stripped[:2] == ["Ssl-Client-Cert", "Ssl-Client-Verify"]
    assert stripped[-3:] == ["Ssl_Client_Cert", "Ssl_Client_Verify", "Ssl_Client_Subject_Dn"]
    assert len(stripped) == len(set(stripped))


def test_repeated_header_is_stripped_once(explain: Explain) -> None:
    """A name that came twice is named once."""
    file = CAPTURES / "nginx__forged-dup-nocert__inherit-lost.http"

    values = explain("--dialect", "nginx", *NAMES, *LOCAL, file)

    assert values["stripped"] == ["Ssl-Client-Cert", "Ssl-Client-Verify", "Ssl-Client-Subject-Dn"]


ANONYMOUS = [
    pytest.param((), "no certificate header came", id="no header"),
    pytest.param(("X-SSL-Client-Verify: NONE",), "the client presented no certificate", id="none"),
    pytest.param(("X-Client-Cert: x",), "none of nginx's (x-ssl-client-cert, x-ssl-client-verify)", id="other names"),
]


@pytest.mark.parametrize(("headers", "detail"), ANONYMOUS)
def test_anonymous_says_why(headers: tuple[str, ...], detail: str, explain: Explain, tmp_path: Path) -> None:
    """From a trusted proxy too, the detail tells what was missing."""
    values = explain("--dialect", "nginx", *LOCAL, request(tmp_path / "request", *headers))

    assert (values["decision"], values["reason"]) == ("anonymous", "no_certificate")
    assert detail in str(values["detail"])


def test_anchors_verify_the_path(explain: Explain) -> None:
    """With trust anchors the path counts: to the root through a named intermediate, and to no other CA."""
    arguments = ("--dialect", "nginx", *NAMES, *LOCAL, "--at", CAPTURED, CAPTURES / "nginx__modern.http")
    anchors = ("--anchors", CAPTURES / "root.pem", "--anchors", CAPTURES / "inter.pem")

    assert explain(*anchors, *arguments)["assurance"] == "path"
    assert explain("--anchors", CAPTURES / "legacy-sha1.pem", *arguments)["reason"] == "untrusted"


def test_rfc9440(alice: IssuedCertificate, explain: Explain, tmp_path: Path) -> None:
    """Client-Cert authenticates where the operator says that the proxy verifies, or names anchors."""
    file = request(tmp_path / "request", f"Client-Cert: {client_cert_field(alice.der)}")
    (tmp_path / "ca.pem").write_bytes(alice.root.public_bytes(Encoding.PEM))
    arguments = ("--dialect", "rfc9440", "--trust", "unix:/run/app.sock", "--peer", "unix:/run/app.sock", file)

    vouched = explain("--proxy-verifies", *arguments)
    verified = explain("--anchors", tmp_path / "ca.pem", *arguments)

    assert (vouched["decision"], vouched["assurance"]) == ("authenticated", "proxy_presence")
    assert (verified["decision"], verified["assurance"]) == ("authenticated", "path")
    assert vouched["fingerprint_sha256"] == verified["fingerprint_sha256"] == alice.fingerprint_sha256
    assert vouched["subject_cn"] == "alice"


def test_time_is_a_choice(alice: IssuedCertificate, explain: Explain, tmp_path: Path) -> None:
    """Without --at it is now; with it, the certificate must be valid then."""
    headers = (f"X-SSL-Client-Cert: {escaped_pem(alice.der)}", "X-SSL-Client-Verify: SUCCESS")
    file = request(tmp_path / "request", *headers)

    assert explain("--dialect", "nginx", *LOCAL, file)["decision"] == "authenticated"
    assert explain("--dialect", "nginx", *LOCAL, "--at", "2001-01-01T00:00:00Z", file)["reason"] == "not_yet_valid"


WRONG_ARGUMENTS = [
    pytest.param(("--dialect", "apach", *LOCAL), ["name one of tls, nginx, "], id="dialect"),
    pytest.param(("--dialect", "rfc9440", *LOCAL), ["--anchors FILE, or give --proxy-verifies"], id="nobody verifies"),
    pytest.param(
        ("--dialect", "nginx", "--trust", "10.0.0.1/8", "--trust", "0.0.0.0/0", "--peer", "127.0.0.1"),
        ["'10.0.0.1/8': has host bits set; write 10.0.0.0/8", "the whole Internet"],
        id="trust",
    ),
    pytest.param(("--dialect", "nginx", "--trust", "::1", "--peer", "proxy"), ["write one IP address"], id="peer"),
    pytest.param(("--dialect", "nginx", *LOCAL, "--header", "leaf"), ["write FIELD=NAME"], id="rename"),
    pytest.param(("--dialect", "nginx", *LOCAL, "--header", "chain=a"), ["it has leaf, verdict"], id="field"),
    pytest.param(("--dialect", "nginx", *LOCAL, "--header", "leaf=a_b"), ["use letters, digits and"], id="name"),
    pytest.param(("--dialect", "nginx", *LOCAL, *NAMES, "--header", "leaf=b"), ["given twice"], id="twice"),
    pytest.param(("--dialect", "nginx", *LOCAL, "--at", "noon"), ["write the time as"], id="time"),
    pytest.param(("--dialect", "nginx", *LOCAL, "--at", "2026-06-01T12:00:00"), ["has no offset"], id="no offset"),
    pytest.param(("--dialect", "nginx", *LOCAL, "--at", "0001-01-01T00:00:00+14:00"), ["write the time"], id="early"),
    pytest.param(
        ("--dialect", "nginx", *LOCAL, "--anchors", "/nowhere", "--anchors", __file__),
        ["No such file or directory; name a PEM file", "holds no readable PEM certificate; name a PEM file"],
        id="anchors",
    ),
]


@pytest.mark.parametrize(("arguments", "sentences"), WRONG_ARGUMENTS)
def test_wrong_arguments(arguments: tuple[str, ...], sentences: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that cannot work ends with 2, and one line on stderr for each problem with what to do."""
    status = main(["explain", *arguments, str(CAPTURES / "nginx__modern.http")])
    captured = capsys.readouterr()

    assert (status, captured.out) == (2, "")
    lines = captured.err.splitlines()
    assert len(lines) == len(sentences)
    assert all(sentence in line for sentence, line in zip(sentences, lines, strict=True))


def test_unreadable_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file ends with 2; the others are decided."""
    files = ["/nowhere", str(CAPTURES / "nginx__nocert.http")]
    status = main(["explain", "--json", "--dialect", "nginx", *NAMES, *LOCAL, *files])
    captured = capsys.readouterr()

    assert status == 2
    assert captured.err == "mtls-auth: /nowhere: there is no such file: check the path\n"
    assert json.loads(captured.out)["decision"] == "anonymous"


TEXTS = [
    (
        "nginx__modern.http",
        ["127.0.0.1 is a trusted proxy", "vouched for  proxy_verdict", "decision     authenticated"],
    ),
    ("nginx__nocert.http", ["came: ssl-client-verify", "anonymous: the trusted proxy says"]),
    (
        "nginx__modern__folded.http",
        ["denied with HTTP 400, malformed_header", "what to do", "the application never sees"],
    ),
    ("nginx__forged-underscore-modern__underscores_on.http", ["other spellings came of ssl-client-cert"]),
    (
        "nginx__short-tlsv1_3-resumed-after-expiry.http",
        ["denied with HTTP 403, expired", "certificate  short", "renew the certificate"],
    ),
]


@pytest.mark.parametrize(("file", "parts"), TEXTS, ids=[row[0] for row in TEXTS])
def test_text(file: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the steps are told in words, each on its line."""
    status = main(["explain", "--dialect", "nginx", *NAMES, *LOCAL, "--at", CAPTURED, str(CAPTURES / file)])
    out = capsys.readouterr().out

    assert status == 0
    assert all(part in out for part in parts), out


def test_log_does_not_clutter() -> None:
    """A denial is one line on stdout and nothing on stderr, in a process without logging configuration."""
    arguments = ["--dialect", "nginx", *NAMES, *LOCAL, str(CAPTURES / "nginx__forged-exact-nocert__inherit-lost.http")]
    command = [sys.executable, "-m", "mtls_auth.cli", "explain", "--json", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1


SECRET = "7mJb1cQ0nZrX4tVd"


def test_a_secret(alice: IssuedCertificate, tmp_path: Path, explain: Explain) -> None:
    """With a secret the same request is believed if it has the right one, and refused otherwise."""
    came = (f"X-SSL-Client-Cert: {escaped_pem(alice.der)}", "X-SSL-Client-Verify: SUCCESS")
    arguments = ("--dialect", "nginx", "--secret", SECRET, "--peer", "192.0.2.1")
    right = request(tmp_path / "right.http", *came, f"X-Proxy-Secret: {SECRET}")
    wrong = request(tmp_path / "wrong.http", *came, "X-Proxy-Secret: somethingelse123")
    assert explain(*arguments, right)["decision"] == "authenticated"
    assert explain(*arguments, wrong)["reason"] == "proxy_unproven"
    assert explain(*arguments, request(tmp_path / "none.http", *came))["reason"] == "proxy_unproven"
    renamed = request(tmp_path / "renamed.http", *came, f"X-Edge: {SECRET}")
    assert explain(*arguments, "--secret-header", "X-Edge", renamed)["decision"] == "authenticated"


def test_several_sources(alice: IssuedCertificate, tmp_path: Path, explain: Explain) -> None:
    """Each proxy is believed in its own dialect, and in no other; what comes before the first dialect holds for all."""
    nginx = request(tmp_path / "n", f"X-SSL-Client-Cert: {escaped_pem(alice.der)}", "X-SSL-Client-Verify: SUCCESS")
    rfc9440 = request(tmp_path / "r", f"Client-Cert: {client_cert_field(alice.der)}")
    sources = "--proxy-verifies --dialect nginx --trust 10.0.0.1 --dialect rfc9440 --trust 10.0.0.2".split()
    for peer, own, other in (("10.0.0.1", nginx, rfc9440), ("10.0.0.2", rfc9440, nginx)):
        assert explain(*sources, "--peer", peer, own)["decision"] == "authenticated"
        assert explain(*sources, "--peer", peer, other)["decision"] == "anonymous"


def test_the_socket(alice: IssuedCertificate, leaves: BrokenLeaves, tmp_path: Path, explain: Explain) -> None:
    """The peer's certificate on the socket is the client's, unless it is pinned as the proxy's."""
    (tmp_path / "peer.pem").write_bytes(alice.pem)
    plain = request(tmp_path / "plain.http")
    socket = ("--peer", "10.0.0.1", "--peer-certificate", tmp_path / "peer.pem")
    assert explain("--dialect", "tls", *socket, plain)["assurance"] == "tls_socket"
    assert explain("--dialect", "tls", "--peer", "10.0.0.1", plain)["decision"] == "anonymous"
    pinned = ("--proxy-certificate", str(explain("--dialect", "tls", *socket, plain)["fingerprint_sha256"]))
    assert explain(*pinned, "--dialect", "tls", *socket, plain)["decision"] == "anonymous"
    field = client_cert_field(leaves.without_eku.der)
    forwarded = request(tmp_path / "forwarded.http", f"Client-Cert: {field}")
    believed = explain(*pinned, "--dialect", "rfc9440", "--proxy-verifies", *socket, forwarded)
    assert (believed["decision"], believed["assurance"]) == ("authenticated", "proxy_presence")
    other = ("--proxy-certificate", "ab" * 32, "--dialect", "rfc9440", "--proxy-verifies")
    assert explain(*other, *socket, forwarded)["decision"] == "anonymous"


def test_intermediates(tmp_path: Path, explain: Explain) -> None:
    """A proxy that forwards no chain leaves a gap that --chain closes."""
    files = ("--anchors", CAPTURES / "root.pem")
    arguments = ("--dialect", "nginx", *NAMES, *LOCAL, "--at", CAPTURED, *files)
    capture = CAPTURES / "nginx__modern.http"
    assert explain(*arguments, capture)["reason"] == "untrusted"
    assert explain(*arguments, "--chain", CAPTURES / "inter.pem", capture)["assurance"] == "path"


@pytest.mark.parametrize("dialect", ["alibaba-alb"])
def test_a_stated_fingerprint(dialect: str, tmp_path: Path, explain: Explain) -> None:
    """A terminator that forwards no certificate names its fingerprint, and nothing else is known."""
    came = ("X-Forwarded-Clientcert-Fingerprint: " + "AB" * 20, "X-Forwarded-Clientcert-ClientVerify: SUCCESS")
    stated = explain("--dialect", dialect, *LOCAL, request(tmp_path / "a.http", *came))
    assert (stated["fingerprint_sha256"], stated["subject_cn"]) == ("ab" * 20, None)


def test_several_secrets(alice: IssuedCertificate, tmp_path: Path, explain: Explain) -> None:
    """Proxies with the same header names are told apart by their secrets; without either the request is refused."""
    other = SECRET[::-1]
    sources = ("--dialect", "nginx", "--secret", SECRET, "--dialect", "lighttpd", "--secret", other)
    certificate = (f"X-SSL-Client-Cert: {escaped_pem(alice.der)}", "X-SSL-Client-Verify: SUCCESS")
    for secret in (SECRET, other):
        proven = (f"X-Proxy-Secret: {secret}",)
        came = request(tmp_path / "came.http", *certificate, *proven)
        assert explain(*sources, "--peer", "10.0.0.1", came)["decision"] == "authenticated"
        nobody = request(tmp_path / "nobody.http", "X-SSL-Client-Verify: NONE", *proven)
        assert explain(*sources, "--peer", "10.0.0.1", nobody)["decision"] == "anonymous"
    forged = request(tmp_path / "forged.http", *certificate)
    assert explain(*sources, "--peer", "10.0.0.1", forged)["reason"] == "proxy_unproven"


ALONE = (str(CAPTURES / "nginx__modern.http"), "--peer", "10.0.0.1")
INCOMPLETE = [
    pytest.param((), "no source is named: give --dialect tls, or one of nginx", id="no source"),
    pytest.param(("--dialect", "nginx"), "nobody is trusted: name the proxy's network", id="nobody"),
    pytest.param(
        ("--dialect", "tls", "--chain", "a.pem"), "name trust anchors with --anchors FILE too", id="chain alone"
    ),
    pytest.param(
        ("--dialect", "tls", "--peer-certificate", "/none.pem"), "name a readable PEM file", id="peer, missing"
    ),
    pytest.param(("--dialect", "tls", "--peer-certificate", __file__), "name a readable PEM file", id="peer, no PEM"),
    pytest.param(
        ("--dialect", "nginx", "--secret", SECRET, "--dialect", "caddy", "--trust", "10.0.0.1", "--proxy-verifies"),
        "one proxy has a secret and the other not",
        id="confusion",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), INCOMPLETE)
def test_incomplete_sources(arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing of a source is said, with what to give."""
    status = main(["explain", *arguments, *ALONE])
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert sentence in captured.err
