"""Everything that is wrong with `MTLS_AUTH`, at once, under the ids of the system checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any

from django_mtls.configured import denied_view_of, dialect_of, source_of, verifier_of
from django_mtls.settings import Settings
from mtls_auth import ConfigurationError, Dialect, Policy
from mtls_auth.dialects import BUILTIN


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration, under the id of its system check."""

    id: str
    message: str
    hint: str


_KEYS = [item.name.upper() for item in fields(Settings)]
_LISTS = (list, tuple, set, frozenset)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "SOURCE": (str, Dialect),
    "TRUSTED_PROXIES": _LISTS,
    "HEADERS": (Mapping,),
    "PROXY_VERIFIES": (bool,),
    "SERVER_ADDRESS_IS_PEER": (bool,),
    "TRUST_ANCHORS": (str, Path, *_LISTS),
    "MAPPING": (str,),
    "POLICY": (Policy, type(None)),
    "REQUIRED": (bool,),
    "SESSION": (str, type(None)),
    "MAX_STALENESS": (int, float, type(None)),
    "CACHE_ENTRIES": (int,),
}
_FOR_PROXIES = ("TRUSTED_PROXIES", "HEADERS", "PROXY_VERIFIES", "SERVER_ADDRESS_IS_PEER")
_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "MAPPING": ("fingerprint", "common_name"),
    "SESSION": (None, "certificate", "user"),
}


def problems_of(raw: object) -> list[Problem]:
    """Return everything that is wrong with the value of `MTLS_AUTH`; empty if it can be used."""
    if not isinstance(raw, Mapping):
        return [Problem("E001", "MTLS_AUTH is not a dict.", 'Set MTLS_AUTH = {"SOURCE": "tls"}, or name your proxy.')]
    problems = [*_key_problems(raw), *_value_problems(raw)]
    if not problems:
        problems += _combination_problems(raw)
    return problems


def _key_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for key in raw:
        if key not in _KEYS:
            close = get_close_matches(str(key).upper(), _KEYS, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(_KEYS)}."
            yield Problem("E001", f"MTLS_AUTH has an unknown key {key!r}.", hint)
    if "SOURCE" not in raw:
        names = ", ".join(repr(name) for name in BUILTIN)
        yield Problem("E003", "MTLS_AUTH names no SOURCE.", f'Use "tls", or one of {names}, or a Dialect.')


def _value_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in raw.items():
        types: tuple[type, ...] = _TYPES.get(key, (object,))
        if not isinstance(value, types) or (isinstance(value, bool) and not {bool, object}.intersection(types)):
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
            yield Problem("E002", f"MTLS_AUTH[{key!r}] is {type(value).__name__}.", f"Give {names}.")
        elif key in _CHOICES and value not in _CHOICES[key]:
            choices = ", ".join(map(repr, _CHOICES[key]))
            yield Problem("E002", f"MTLS_AUTH[{key!r}] is {value!r}.", f"Give one of {choices}.")
        elif key in ("MAX_STALENESS", "CACHE_ENTRIES") and not (value is None or 0 <= raw[key] < inf):
            yield Problem("E002", f"MTLS_AUTH[{key!r}] is {value!r}.", "Give a number from zero.")
    try:
        denied_view_of(raw)
    except (ImportError, TypeError) as error:
        yield Problem("E002", f"MTLS_AUTH['DENIED_VIEW']: {error}.", "Give the dotted path of view(request, denied).")


def _combination_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    found = [*_source_problems(raw), *_anchor_problems(raw)]
    yield from found
    if not found and verifier_of(raw).needs_vouching and not source_of(raw).vouches:
        yield Problem(
            "E009",
            f"MTLS_AUTH: nothing in the headers of {raw['SOURCE']!r} says that the certificate was verified.",
            "Give TRUST_ANCHORS, or set PROXY_VERIFIES = True if your proxy forwards only what it verified.",
        )
    if raw.get("MAPPING") == "common_name" and raw.get("POLICY") is None:
        yield Problem(
            "E010",
            "MTLS_AUTH maps every common name to a user, and has no POLICY.",
            'Name whose names you believe, as POLICY = IssuedBy("CN=…"), or write AnyVerifiedCertificate().',
        )


def _source_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    if raw["SOURCE"] == "tls":
        unused = [key for key in _FOR_PROXIES if raw.get(key)]
        if unused:
            message = f"MTLS_AUTH reads the TLS socket and has {', '.join(unused)}, which are for proxies."
            yield Problem("E004", message, "Remove them, or name the proxy's dialect as SOURCE.")
        return
    try:
        dialect_of(raw)
    except (ImportError, ConfigurationError, TypeError) as error:
        yield Problem("E003", f"MTLS_AUTH['SOURCE']: {error}.", f"The dialects are {', '.join(BUILTIN)}.")
        return
    try:
        source_of(raw)
    except ConfigurationError as error:
        hint = "List the networks or Unix sockets from which your proxy connects, and no others."
        for message in error.problems:
            yield Problem("E005", f"MTLS_AUTH['TRUSTED_PROXIES']: {message}.", hint)


def _anchor_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        verifier_of(raw)
    except ConfigurationError as error:
        for message in error.problems:
            yield Problem("E006", f"MTLS_AUTH['TRUST_ANCHORS']: {message}.", "Name readable PEM files of CAs.")
