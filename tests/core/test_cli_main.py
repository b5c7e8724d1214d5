"""The entry point returns an exit status, whatever happens."""

import os
import runpy
import sys
from pathlib import Path

import pytest

import mtls_auth
from mtls_auth.cli import inspection, main

CERTIFICATE = str(Path(__file__).parent.parent / "vectors" / "hostile" / "ok_plain.der")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["inspect", "--help"], 0), ([], 2), (["inspect"], 2), (["explain", "x"], 2), (["revoke"], 2)],
)
def test_usage(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is 0 and on stdout, wrong usage is 2 and on stderr; neither raises SystemExit."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert "usage: mtls-auth" in (captured.err if status else captured.out)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mtls-auth {mtls_auth.__version__}\n"


def test_run_as_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m mtls_auth.cli` is the same program."""
    monkeypatch.setattr(sys, "argv", ["mtls-auth", "inspect", CERTIFICATE])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("mtls_auth.cli.__main__", run_name="__main__")

    assert ended.value.code == 0
    assert "CN=alice" in capsys.readouterr().out


def test_reader_of_the_output_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `mtls-auth inspect … | head -1`: it ends with 141 and without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)

        assert main(["inspect", CERTIFICATE]) == 141


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C while it reads ends with 130 and without a traceback."""

    def interrupted(name: str, limit: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "read_file", interrupted)

    assert main(["inspect", "-"]) == 130
