"""Options that are given as NAME=VALUE, several times."""

from collections.abc import Container, Iterable

from mtls_auth.errors import ConfigurationError


def assignments(
    option: str, texts: Iterable[str], advice: str, *, names: Container[str] | None = None
) -> dict[str, str]:
    """Return the values by name. Raises `ConfigurationError` with *advice* for another form or name, or one twice."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name in values or (names is not None and name not in names):
            twice = f"; {name}=… is given twice" if name in values else ""
            raise ConfigurationError(f"{option} {text!r}: {advice}{twice}")
        values[name] = value
    return values


def header_names(texts: Iterable[str]) -> dict[str, str]:
    """Return what `--header FIELD=NAME` says, for `Dialect.with_headers`."""
    return assignments("--header", texts, "write FIELD=NAME once, as leaf=ssl-client-cert")
