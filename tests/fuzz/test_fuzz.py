"""The targets of the fuzzer run over what they start from, and notice what they are there to notice."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mtls_auth import codecs
from mtls_auth.dialects import Dialect
from mtls_auth.evidence import Decoded, Statement
from mtls_auth.testing import escaped_pem
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import ROWS, TARGETS, OfCodec, check_shape
from tests.fuzz.words import WORDS, input_of, text_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    """Every target accepts some of its seeds and refuses others, and finds nothing wrong with any."""
    assert {TARGETS[target](seed) for seed in seeds(target)} == {True, False}
    assert TARGETS[target](b"") in {True, False}


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_every_dialect_is_reached(row: Dialect) -> None:
    """Every row accepts one of the seeds that name it."""
    assert any(TARGETS["dialects"](seed) for seed in seeds("dialects") if seed[0] == ROWS.index(row))


def test_inputs() -> None:
    """Every input stands for a text, and a text of ASCII and words for an input."""
    assert text_of(bytes(range(256))).startswith("\x00\x01")
    assert len(set(WORDS)) == len(WORDS) <= 128
    text = escaped_pem(b"certificate") + 'Hash=é;x="\\\\"' + "".join(WORDS)
    assert text_of(input_of(text)) == text
    assert len(input_of(escaped_pem(b"abc"))) == 3


def test_every_codec_is_a_target() -> None:
    """A codec that is added is fuzzed."""
    public = {name for name, value in vars(codecs).items() if callable(value) and value.__module__ == codecs.__name__}
    assert {name for name in public if not name.startswith("_")} <= set(TARGETS)


@pytest.mark.parametrize(
    "decoded", [b"", (), (b"",), (b"a", ""), [b"a"], None, "a", Statement(name="a\n"), Statement(name="é")]
)
def test_wrong_shapes(decoded: object) -> None:
    """What is neither DER nor a statement is noticed."""
    with pytest.raises(AssertionError):
        check_shape(decoded)


def test_wrong_results() -> None:
    """A codec that raises something else, or returns something else than the simple one, is noticed."""

    def other(_text: str) -> Decoded:
        return b"other"

    def broken(_text: str) -> Decoded:
        raise ValueError("not ours")

    with pytest.raises(AssertionError):
        OfCodec(other, lambda text: text.encode())(b"one")
    with pytest.raises(ValueError, match="not ours"):
        OfCodec(broken, other)(b"one")


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_the_command() -> None:
    """A campaign of a second runs and reports, where atheris is installed."""
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "1", "byte_sequence"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing wrong" in done.stdout
