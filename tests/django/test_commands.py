"""manage.py mtls_enroll, mtls_revoke, mtls_list, mtls_explain."""

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings

from django_mtls import lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation
from mtls_auth import CommonName
from tests.django.operators import CA, enroll, user_named
from tests.pki import BrokenLeaves

pytestmark = pytest.mark.django_db

LEAVES = BrokenLeaves(CA)
LEAF = LEAVES.good
COMMANDS = ("mtls_enroll", "mtls_revoke", "mtls_list", "mtls_explain")

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """Run a command and return what it prints."""

    def run(*arguments: str) -> str:
        output, errors = io.StringIO(), io.StringIO()
        call_command(*arguments, stdout=output, stderr=errors, no_color=True)
        return output.getvalue() + errors.getvalue()

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A certificate in a file."""
    path = tmp_path / "alice.pem"
    path.write_bytes(LEAF.pem)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command explains itself and each of its arguments."""
    with pytest.raises(SystemExit) as raised:
        call_command(name, "--help")
    assert raised.value.code == 0
    assert "certificate" in capsys.readouterr().out


class TestEnroll:
    def test_enrolled(self, run: Run, file: Path) -> None:
        """A certificate in a file is enrolled for the user."""
        user_named("alice")
        output = run("mtls_enroll", "alice", str(file), "--label", "laptop")
        row = EnrolledCertificate.objects.get()
        assert (row.label, row.enrolled_by, str(row.user)) == ("laptop", None, "alice")
        assert row.fingerprint_sha256 == LEAF.fingerprint_sha256
        assert row.fingerprint_sha256 in output

    def test_standard_input(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """So is one on standard input."""
        user_named("alice")
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(LEAF.der)))
        run("mtls_enroll", "alice", "-")
        assert EnrolledCertificate.objects.exists()

    def test_inactive_user(self, run: Run, file: Path) -> None:
        """A certificate of an inactive user is enrolled with a warning."""
        user_named("carol", is_active=False)
        assert "The user carol is not active" in run("mtls_enroll", "carol", str(file))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nobody", "{file}"), "There is no user whose username is 'nobody': check the spelling"),
            (("alice", "{directory}/missing.pem"), "No such file or directory"),
            (("alice", "{directory}"), "Is a directory"),
            (("alice", "{key}"), "Nothing of it was kept."),
            (("alice", "{text}"), "Give one certificate as PEM"),
            (("alice", "{expired}"), "Have a new certificate issued."),
            (("alice", "{file}", "--label", "x" * 101), "more than 100 characters: shorten it"),
        ],
    )
    def test_refused(self, run: Run, file: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
        """What cannot be enrolled is refused with what to do, and nothing of a key is printed."""
        user_named("alice")
        contents = {"key": LEAF.key_pem, "text": b"hello", "expired": LEAVES.expired.pem}
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        names = {name: str(tmp_path / name) for name in contents} | {"file": str(file), "directory": str(tmp_path)}
        with pytest.raises(CommandError) as raised:
            run("mtls_enroll", *(argument.format(**names) for argument in arguments))
        assert message in str(raised.value)
        assert LEAF.key_pem.decode().splitlines()[1] not in str(raised.value)
        assert not EnrolledCertificate.objects.exists()

    def test_twice(self, run: Run, file: Path) -> None:
        """A certificate is enrolled once."""
        enroll(user_named("alice"), LEAF)
        with pytest.raises(CommandError, match="enrolled already, for alice: active"):
            run("mtls_enroll", "alice", str(file))


class TestRevoke:
    def test_by_fingerprint(self, run: Run) -> None:
        """An enrolled certificate is revoked by its fingerprint, colons allowed."""
        row = enroll(user_named("alice"))
        colons = bytes.fromhex(row.fingerprint_sha256).hex(":").upper()
        output = run("mtls_revoke", "--fingerprint", colons, "--reason", "keyCompromise", "--comment", "Lost")
        row.refresh_from_db()
        assert row.state == "revoked"
        assert (row.revocation.comment, row.revocation.revoked_by) == ("Lost", None)
        assert f"Revoked {row}: keyCompromise." in output

    def test_by_file(self, run: Run, file: Path) -> None:
        """A certificate that was never enrolled is revoked by itself."""
        run("mtls_revoke", "--file", str(file), "--reason", "superseded")
        assert Revocation.objects.get().serial_number == f"{LEAF.certificate.serial_number:x}"

    def test_by_serial(self, run: Run) -> None:
        """And by issuer and serial number; an enrolled one of them is revoked too."""
        row = enroll(user_named("alice"), LEAF)
        serial = f"{LEAF.certificate.serial_number:X}"
        run("mtls_revoke", "--issuer", "CN=Example CA", "--serial", serial, "--reason", "cACompromise")
        row.refresh_from_db()
        assert row.state == "revoked"

    def test_hold(self, run: Run) -> None:
        """A certificate hold suspends."""
        row = enroll(user_named("alice"))
        run("mtls_revoke", "--fingerprint", row.fingerprint_sha256, "--reason", "certificateHold")
        row.refresh_from_db()
        assert row.state == "suspended"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "is required"),
            (("--fingerprint", "x"), "give 64 hex digits"),
            (("--fingerprint", "0" * 64), "see manage.py mtls_list"),
            (("--issuer", "CN=x"), "give --issuer and --serial"),
            (("--file", "x", "--serial", "1"), "give --issuer and --serial"),
            (("--issuer", "x", "--serial", "1"), "RFC 4514"),
            (("--issuer", "CN=x", "--serial", "x"), "hexadecimal"),
            (("--issuer", "CN=x", "--serial", "1", "--reason", "certificateHold"), "give another reason"),
            (("--issuer", "CN=x", "--serial", "1", "--reason", "lost"), "invalid choice"),
        ],
        ids=str,
    )
    def test_refused(self, run: Run, arguments: tuple[str, ...], message: str) -> None:
        """What names no certificate is refused with what to do."""
        reason = () if "--reason" in arguments else ("--reason", "superseded")
        with pytest.raises(CommandError, match=message):
            run("mtls_revoke", *arguments, *reason)
        assert not Revocation.objects.exists()

    def test_twice(self, run: Run, file: Path) -> None:
        """A revocation is final: the second is an error."""
        row = enroll(user_named("alice"), LEAF)
        for name, value in (("--fingerprint", row.fingerprint_sha256), ("--file", str(file))):
            lifecycle.revoke([row], CRLReason.SUPERSEDED)
            with pytest.raises(CommandError, match="there is nothing to do"):
                run("mtls_revoke", name, value, "--reason", "keyCompromise")


class TestList:
    def test_lines(self, run: Run) -> None:
        """A line has fingerprint, state, end, user, subject and label; the newest comes first."""
        old = enroll(user_named("alice"), label="laptop")
        new = enroll(user_named("bob"), LEAVES.through_intermediate)
        EnrolledCertificate.objects.filter(pk=new.pk).update(user=None)
        lines = [line.split("\t") for line in run("mtls_list").splitlines()]
        end = old.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert lines[1] == [old.fingerprint_sha256, "active", end, "alice", "CN=alice", "laptop"]
        assert lines[0][3:] == ["-", "CN=alice,OU=Ops", "-"]

    def test_json(self, run: Run) -> None:
        """With --json a line is an object."""
        row = enroll(user_named("alice"), label="laptop")
        found = json.loads(run("mtls_list", "--json"))
        assert found["fingerprint_sha256"] == row.fingerprint_sha256
        assert (found["state"], found["expired"], found["user"]) == ("active", False, "alice")
        assert datetime.fromisoformat(found["not_after"]) == row.not_after

    @pytest.mark.parametrize(
        ("arguments", "labels"),
        [
            ((), {"a", "b", "soon", "ended"}),
            (("--user", "alice"), {"a", "soon", "ended"}),
            (("--state", "suspended"), {"b"}),
            (("--expires-within", "30"), {"soon"}),
            (("--expires-within", "365", "--user", "alice"), {"a", "soon"}),
        ],
        ids=str,
    )
    def test_filters(self, run: Run, arguments: tuple[str, ...], labels: set[str]) -> None:
        """Certificates are chosen by user, state and end."""
        now = datetime.now(UTC)
        for label, user, days in (("a", "alice", 80), ("b", "bob", 80), ("soon", "alice", 9), ("ended", "alice", -1)):
            row = enroll(user_named(user), label=label)
            EnrolledCertificate.objects.filter(pk=row.pk).update(not_after=now + timedelta(days=days))
        lifecycle.suspend(EnrolledCertificate.objects.get(label="b"))
        assert {line.split("\t")[-1] for line in run("mtls_list", *arguments).splitlines()} == labels

    @pytest.mark.parametrize("arguments", [(), ("--json",)], ids=str)
    def test_one_query(self, run: Run, arguments: tuple[str, ...]) -> None:
        """The list costs one query, without the certificates themselves."""
        for number in range(20):
            enroll(user_named(f"user{number}"))
        with CaptureQueriesContext(connection) as queries:
            assert len(run("mtls_list", *arguments).splitlines()) == 20
        assert len(queries) == 1
        assert '"der"' not in queries[0]["sql"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--user", "nobody"), "There is no user"),
            (("--state", "expired"), "invalid choice"),
            (("--expires-within", "-1"), "from 0 to 36500"),
            (("--expires-within", "99999999"), "from 0 to 36500"),
        ],
        ids=str,
    )
    def test_refused(self, run: Run, arguments: tuple[str, ...], message: str) -> None:
        """A question that has no answer is refused with what to do."""
        with pytest.raises(CommandError, match=message):
            run("mtls_list", *arguments)


class TestExplain:
    def explain(self, run: Run, *arguments: str) -> tuple[str, str]:
        """Return what the command prints, and its error; the error's exit status is 1."""
        output = io.StringIO()
        error = None
        try:
            call_command("mtls_explain", *arguments, stdout=output, no_color=True)
        except CommandError as raised:
            error = raised
        assert error is None or error.returncode == 1
        return output.getvalue(), str(error or "")

    @pytest.mark.parametrize("by", ["file", "fingerprint"])
    def test_admitted(self, run: Run, file: Path, by: str) -> None:
        """An enrolled certificate is admitted: each step and the user are named."""
        row = enroll(user_named("alice"), LEAF)
        output, error = self.explain(
            run, *((str(file),) if by == "file" else ("--fingerprint", row.fingerprint_sha256))
        )
        assert error == ""
        assert row.fingerprint_sha256 in output
        assert output.count("yes  ") == 4
        assert "Stands for a user: alice" in output
        assert "The certificate is admitted." in output

    @pytest.mark.parametrize(
        ("prepare", "reason", "advice"),
        [
            pytest.param(lambda row: row.delete(), "not_enrolled", "Enrol it", id="not enrolled"),
            pytest.param(lifecycle.suspend, "suspended", "Reactivate it", id="suspended"),
            pytest.param(
                lambda row: lifecycle.revoke([row], CRLReason.SUPERSEDED), "revoked", "Have a new", id="revoked"
            ),
            pytest.param(lambda row: row.user.delete(), "no_user", "for another user", id="no user"),
            pytest.param(
                lambda row: type(row.user).objects.update(is_active=False),
                "inactive_user",
                "active",
                id="inactive user",
            ),
        ],
    )
    def test_refused(self, run: Run, file: Path, prepare: Any, reason: str, advice: str) -> None:
        """A refused certificate is explained by the reason of the request path, and with what to do."""
        prepare(enroll(user_named("alice"), LEAF))
        output, error = self.explain(run, str(file))
        assert "NO   Stands for a user: Refused: " in output
        assert advice in output
        assert error == f"The certificate is refused: {reason}, HTTP 403."

    @pytest.mark.parametrize(
        ("leaf", "step", "reason"),
        [
            ("expired", "In force", "expired"),
            ("not_yet_valid", "In force", "not_yet_valid"),
            ("server_only", "Verified", "wrong_key_usage"),
        ],
    )
    def test_never_good(self, run: Run, tmp_path: Path, leaf: str, step: str, reason: str) -> None:
        """The step that refuses is the last."""
        path = tmp_path / "leaf.pem"
        path.write_bytes(getattr(LEAVES, leaf).pem)
        output, error = self.explain(run, str(path))
        assert f"NO   {step}: " in output
        assert "Stands for a user" not in output
        assert reason in error

    def test_policy(self, run: Run, file: Path) -> None:
        """A certificate outside the site's policy is refused by its name."""
        enroll(user_named("alice"), LEAF)
        nginx = {"SOURCE": "nginx", "TRUSTED_PROXIES": ["127.0.0.1"], "POLICY": CommonName("bob")}
        with override_settings(MTLS_AUTH=nginx):
            output, error = self.explain(run, str(file))
        assert "refused by CommonName('bob')" in output
        assert "not_allowed" in error

    @pytest.mark.parametrize(("leaf", "reason"), [("good", ""), ("impostor", "untrusted")])
    def test_trust_anchors(self, run: Run, tmp_path: Path, leaf: str, reason: str) -> None:
        """With trust anchors the path is built here, with the intermediates of the file."""
        anchor, path = tmp_path / "ca.pem", tmp_path / "leaf.pem"
        anchor.write_bytes(CA.pem)
        issued = CA.intermediate().issue("alice") if leaf == "good" else getattr(LEAVES, leaf)
        enroll(user_named("alice"), issued)
        path.write_bytes(issued.chain_pem)
        with override_settings(MTLS_AUTH={"SOURCE": "tls", "TRUST_ANCHORS": [str(anchor)]}):
            output, error = self.explain(run, str(path))
        assert reason in error
        assert ("up to a trust anchor of this application" in output) is (not reason)

    @pytest.mark.parametrize(
        "settings",
        [
            {"SOURCE": "tls"},
            {"SOURCE": "nginx", "TRUSTED_PROXIES": ["127.0.0.1"]},
            {"SOURCE": "rfc9440", "TRUSTED_PROXIES": ["127.0.0.1"], "PROXY_VERIFIES": True},
        ],
        ids=str,
    )
    def test_who_vouches(self, run: Run, file: Path, settings: dict[str, Any]) -> None:
        """Without trust anchors the explanation names who must vouch for the certificate."""
        enroll(user_named("alice"), LEAF)
        with override_settings(MTLS_AUTH=settings):
            output, error = self.explain(run, str(file))
        assert error == ""
        assert "says so: no signature is checked here" in output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "is required"),
            (("--fingerprint", "0" * 64), "see manage.py mtls_list"),
            (("{directory}/missing",), "No such file"),
            (("{directory}/key",), "Nothing of it was kept"),
        ],
        ids=str,
    )
    def test_errors(self, run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
        """What is no certificate cannot be explained."""
        (tmp_path / "key").write_bytes(LEAF.key_pem)
        with pytest.raises(CommandError, match=message):
            run("mtls_explain", *(argument.format(directory=tmp_path) for argument in arguments))

    def test_unreadable(self, run: Run) -> None:
        """An enrolled certificate that is not read any more says why."""
        row = enroll(user_named("alice"))
        EnrolledCertificate.objects.update(der=b"0\x00")
        with pytest.raises(CommandError, match="cannot be read"):
            run("mtls_explain", "--fingerprint", row.fingerprint_sha256)
