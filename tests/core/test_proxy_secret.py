"""The proxy's secret: what counts as one, that it came once and is right, and that nobody gets to read it."""

import logging

import pytest

from mtls_auth import (
    NGINX,
    AnyVerifiedCertificate,
    Authenticator,
    CertificateRejected,
    ConfigurationError,
    Connection,
    Denied,
    Forwarded,
    ProxySecret,
    Reason,
    proxy_secret,
)
from tests.core.conftest import reason_of, received

OLD, NEW = "2WoPUvB4Jq2lfJfNyZ0T", "oL1+c/x9T0m2bYcQ7w8=="
NAME = "X-Proxy-Secret"


def arriving(*values: str, name: str = NAME) -> Connection:
    """Return a connection on which the secret came with these values."""
    return received(*((name, value) for value in values), names=[name.lower()])


@pytest.mark.parametrize("secret", [ProxySecret(OLD), ProxySecret(OLD, NEW), ProxySecret(NEW, OLD)], ids=repr)
def test_right(secret: ProxySecret) -> None:
    """The header with a right value passes; blanks around it are the carrier's."""
    for value in (OLD, f" {OLD}\t"):
        assert reason_of(secret.check, arriving(value)) is None
        assert secret.is_right(arriving(value))


def test_rotation() -> None:
    """While it is being changed both values are right; afterwards the old one is not."""
    during, after = ProxySecret(OLD, NEW), ProxySecret(NEW)
    assert [during.is_right(arriving(value)) for value in (OLD, NEW)] == [True, True]
    assert [after.is_right(arriving(value)) for value in (OLD, NEW)] == [False, True]


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        ("wrong",),
        (OLD[:-1],),
        (OLD + "x",),
        (OLD.lower(),),
        (f'"{OLD}"',),
        (f"{OLD},{OLD}",),
        (f"{OLD}, {NEW}",),
        (OLD, OLD),
        (OLD, NEW),
        (OLD, ""),
        ("wrong", OLD),
        ("\xe9" * 20,),
        (OLD[:10] + "\0" + OLD[10:],),
    ],
    ids=[
        *("missing", "empty", "wrong", "shorter", "longer", "other case", "quoted", "twice in an environ"),
        *("two in an environ", "twice", "both", "and an empty one", "after a wrong one", "not ASCII", "NUL"),
    ],
)
def test_wrong(values: tuple[str, ...]) -> None:
    """Anything but one right value proves nothing."""
    for secret in (ProxySecret(OLD), ProxySecret(OLD, NEW)):
        assert reason_of(secret.check, arriving(*values)) is Reason.PROXY_UNPROVEN
        assert not secret.is_right(arriving(*values))


def test_other_header() -> None:
    """The name is the operator's, in any case; the default name says nothing then."""
    secret = ProxySecret(OLD, header="X-Edge-Key")
    assert secret.header == "x-edge-key"
    assert secret.is_right(arriving(OLD, name="x-EDGE-key"))
    assert not secret.is_right(arriving(OLD))


@pytest.mark.parametrize("name", ["X_Secret", "", "-", "x secret", "x:secret", "x.secret", "x-sécret", "x-secret\n"])
def test_not_a_header(name: str) -> None:
    """A name that some server folds, drops or cannot send is an error."""
    with pytest.raises(ConfigurationError, match=r"proxy secret, header name .*: use your own, of letters, digits"):
        ProxySecret(OLD, header=name)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "fewer than 16 random characters"),
        (OLD[:15], "fewer than 16 random characters"),
        ("a" * 40, "fewer than 16 random characters"),
        ("abcdefg" * 6, "fewer than 16 random characters"),
        (f"{OLD} ", "characters other than"),
        (f" {OLD}", "characters other than"),
        (OLD.replace("W", " "), "characters other than"),
        (OLD.replace("W", ","), "characters other than"),
        (OLD.replace("W", '"'), "characters other than"),
        (OLD.replace("W", "\n"), "characters other than"),
        (OLD.replace("W", "%"), "characters other than"),
        (OLD.replace("W", "$"), "characters other than"),
        (OLD.replace("W", "é"), "characters other than"),
        (f"{OLD}\n", "characters other than"),
        (None, "is text"),
        (OLD.encode(), "is text"),
    ],
)
def test_not_a_secret(value: object, message: str) -> None:
    """A value that can be guessed, or that a proxy or a server changes on the way, is an error that keeps it quiet."""
    with pytest.raises(ConfigurationError, match=message) as refused:
        ProxySecret(value)  # type: ignore[arg-type]
    assert not value or str(value) not in str(refused.value)
    with pytest.raises(ConfigurationError, match=message):
        ProxySecret(NEW, value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [OLD[:16], "abcdefgh" * 2, NEW, "a.b_c~d+e/f=g-h1"])
def test_a_secret(value: str) -> None:
    """Sixteen characters of eight kinds are enough: nobody counts bits here."""
    assert ProxySecret(value).is_right(arriving(value))


@pytest.mark.parametrize("count", [0, 3, 4])
def test_how_many(count: int) -> None:
    """One value, or two."""
    with pytest.raises(ConfigurationError, match="one proxy secret, or two while it is being changed"):
        ProxySecret(*[OLD, NEW, OLD, NEW][:count])


def test_every_problem_at_once() -> None:
    """An operator reads about all of it the first time."""
    with pytest.raises(ConfigurationError) as refused:
        ProxySecret("a", "b", "c", header="x_y")
    assert len(refused.value.problems) == 5


@pytest.mark.parametrize("given", [OLD, NEW, "wrong", OLD[:-1], "\xe9"])
def test_constant_time(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Every value is compared, in constant time, whichever is right."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(proxy_secret, "compare_digest", compare)
    ProxySecret(OLD, NEW).is_right(arriving(given))
    assert compared == [(given.encode("latin-1"), OLD.encode()), (given.encode("latin-1"), NEW.encode())]


def test_nobody_gets_to_read_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the text of a secret, nor that of a source, a refusal or a log line holds the value."""
    secret = ProxySecret(OLD, NEW)
    source = Forwarded(dialect=NGINX, secret=secret)
    authenticator = Authenticator(source, policy=AnyVerifiedCertificate())
    texts = [repr(secret), str(secret), f"{secret}", repr(source), repr([source])]
    with caplog.at_level(logging.DEBUG):
        for values in ((OLD, NEW), (NEW + "x",), (f"{OLD},{NEW}",)):
            connection = received(("X-SSL-Client-Verify", "SUCCESS"), *((NAME, value) for value in values))
            found = authenticator.authenticate(connection)
            assert isinstance(found, Denied)
            assert found.reason is Reason.PROXY_UNPROVEN
            with pytest.raises(CertificateRejected) as refused:
                secret.check(connection)
            texts += [repr(found), str(refused.value), str(refused.value.__cause__)]
    assert len(caplog.records) == 3
    for text in (*texts, caplog.text):
        assert OLD not in text
        assert NEW not in text
        assert OLD[:8] not in text
    assert repr(secret) == "ProxySecret(<2 values>, header='x-proxy-secret')"
