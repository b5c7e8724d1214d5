"""Everything that is wrong with `MTLS_AUTH`, at once, under the ids of the system checks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any

from django_mtls.configured import denied_view_of, format_of, parts_of, source_of, verifier_of
from django_mtls.settings import Settings
from mtls_auth import ConfigurationError, Dialect, Policy, ServerVariables
from mtls_auth.diagnostics import DEFAULT_PATH, Diagnostics
from mtls_auth.dialects import BUILTIN
from mtls_auth.server_environ import BUILTIN_VARIABLES
from mtls_auth.sources import unvouched


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration, under the id of its system check."""

    id: str
    message: str
    hint: str


_KEYS = [item.name.upper() for item in fields(Settings)]
_LISTS = (list, tuple, set, frozenset)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "SOURCE": (str, Dialect, ServerVariables),
    "SOURCES": (list, tuple),
    "TRUSTED_PROXIES": _LISTS,
    "PROXY_SECRET": (str, list, tuple),
    "PROXY_SECRET_HEADER": (str,),
    "PROXY_CERTIFICATE": (Policy, type(None)),
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
    "DIAGNOSTICS_TOKEN": (str, type(None)),
    "DIAGNOSTICS_PATH": (str,),
}
_FOR_PROXIES = (
    "TRUSTED_PROXIES",
    "PROXY_SECRET",
    "PROXY_SECRET_HEADER",
    "PROXY_CERTIFICATE",
    "HEADERS",
    "PROXY_VERIFIES",
    "SERVER_ADDRESS_IS_PEER",
)
_OF_A_SOURCE = ("SOURCE", *_FOR_PROXIES)
_MAPPED = {"fingerprint": "fingerprint", "stated_name": "name"}
"""What a terminator has to state of a certificate that it does not forward."""
_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "MAPPING": ("fingerprint", "common_name", "stated_name"),
    "SESSION": (None, "certificate", "user"),
}


def problems_of(raw: object) -> list[Problem]:
    """Return everything that is wrong with the value of `MTLS_AUTH`; empty if it can be used."""
    if not isinstance(raw, Mapping):
        return [Problem("E001", "MTLS_AUTH is not a dict.", 'Set MTLS_AUTH = {"SOURCE": "tls"}, or name your proxy.')]
    problems = [*_key_problems(raw), *_value_problems(raw)]
    if not problems:
        problems += _parts_problems(raw)
    if not problems:
        problems += _combination_problems(raw)
    return problems


def _key_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _unknown_keys("MTLS_AUTH", raw, _KEYS)
    if "SOURCES" in raw and not frozenset(_OF_A_SOURCE).isdisjoint(raw):
        wrong = ", ".join(key for key in _OF_A_SOURCE if key in raw)
        yield Problem("E003", f"MTLS_AUTH has SOURCES and beside them {wrong}.", "Move these into one of SOURCES.")
    elif "SOURCE" not in raw and not raw.get("SOURCES"):
        yield Problem("E003", "MTLS_AUTH names no SOURCE.", f"Use {_names()}, or a Dialect.")


def _unknown_keys(where: str, raw: Mapping[str, Any], known: Sequence[str]) -> Iterator[Problem]:
    for key in raw:
        if key not in known:
            close = get_close_matches(str(key).upper(), known, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(known)}."
            yield Problem("E001", f"{where} has an unknown key {key!r}.", hint)


def _names() -> str:
    return ", ".join(map(repr, ("tls", *BUILTIN, *BUILTIN_VARIABLES)))


def _parts_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what is wrong with each of SOURCES."""
    for number, part in enumerate(raw.get("SOURCES", ())):
        where = f"MTLS_AUTH['SOURCES'][{number}]"
        if not isinstance(part, Mapping):
            yield Problem("E002", f"{where} is {type(part).__name__}.", 'Give a dict: {"SOURCE": "nginx", …}.')
            continue
        yield from _unknown_keys(where, part, _OF_A_SOURCE)
        yield from filter(None, (_type_problem(where, key, value) for key, value in part.items()))
        if "SOURCE" not in part:
            yield Problem("E003", f"{where} names no SOURCE.", f"Use {_names()}, or a Dialect.")


def _type_problem(where: str, key: str, value: object) -> Problem | None:
    types: tuple[type, ...] = _TYPES.get(key, (object,))
    if isinstance(value, types) and not (isinstance(value, bool) and not {bool, object}.intersection(types)):
        return None
    names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
    return Problem("E002", f"{where}[{key!r}] is {type(value).__name__}.", f"Give {names}.")


def _value_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in raw.items():
        problem = _type_problem("MTLS_AUTH", key, value)
        if problem is not None:
            yield problem
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
    found = [
        problem
        for number, part in enumerate(parts_of(raw))
        for problem in _source_problems(f"MTLS_AUTH['SOURCES'][{number}]" if part is not raw else "MTLS_AUTH", part)
    ]
    found += _anchor_problems(raw)
    yield from found
    yield from _diagnostics_problems(raw)
    if not found:
        yield from _evidence_problems(raw)
    if raw.get("MAPPING") == "common_name" and raw.get("POLICY") is None:
        yield Problem(
            "E010",
            "MTLS_AUTH maps every common name to a user, and has no POLICY.",
            'Name whose names you believe, as POLICY = IssuedBy("CN=…"), or write AnyVerifiedCertificate().',
        )


def _evidence_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what cannot be decided by what the sources tell."""
    try:
        source = source_of(raw)
    except ConfigurationError as error:  # one of the process's variables, or sources that exclude each other
        for message in error.problems:
            yield Problem("E003", f"MTLS_AUTH: {message}.", "Read the reference of MTLS_AUTH['SOURCE'].")
        return
    verifies = not verifier_of(raw).needs_vouching
    if not verifies and not source.vouches:
        silent = unvouched(source)
        never = any(dialect.unverified for dialect in silent)
        yield Problem(
            "E009",
            f"MTLS_AUTH: nothing in the headers of {', '.join(repr(row.name) for row in silent)} says that the "
            "certificate was verified.",
            "Give TRUST_ANCHORS."
            if never
            else "Give TRUST_ANCHORS, or set PROXY_VERIFIES = True if your proxy forwards only what it verified.",
        )
    formats = [format_of(part) for part in parts_of(raw) if part["SOURCE"] != "tls"]
    without = [row for row in formats if row.without_certificate]
    mapping = raw.get("MAPPING", "fingerprint")
    needed = _MAPPED.get(mapping)
    if without and verifies:
        names = ", ".join(repr(row.name) for row in without)
        message = f"MTLS_AUTH: {names} forwards no certificate, which TRUST_ANCHORS need."
        yield Problem("E013", message, "Leave out TRUST_ANCHORS.")
    for row in without:
        if needed not in row.states:
            usable = " or ".join(repr(name) for name, fact in _MAPPED.items() if fact in row.states)
            message = f"MTLS_AUTH: {row.name!r} forwards no certificate, and does not state what MAPPING needs."
            yield Problem("E013", message, f"Set MAPPING to {usable}.")
    if mapping == "stated_name" and len(without) < len(parts_of(raw)):
        yield Problem(
            "E013",
            "MTLS_AUTH maps stated names, and has a source that forwards certificates instead.",
            'Map by "fingerprint" or "common_name".',
        )


def _source_problems(where: str, raw: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        found = None if raw["SOURCE"] == "tls" else format_of(raw)
    except (ImportError, ConfigurationError, TypeError) as error:
        yield Problem("E003", f"{where}['SOURCE']: {error}.", f"The names are {_names()}.")
        return
    if not isinstance(found, Dialect):
        unused = [key for key in _FOR_PROXIES if raw.get(key)]
        if unused:
            reads = "the TLS socket" if found is None else "variables of the server"
            message = f"{where} reads {reads} and has {', '.join(unused)}, which are for proxies."
            yield Problem("E004", message, "Remove them, or name the proxy's dialect as SOURCE.")
        return
    try:
        source_of(raw)
    except ConfigurationError as error:
        hint = (
            "In TRUSTED_PROXIES, list the networks or Unix sockets from which your proxy connects, and no others; or "
            "use PROXY_SECRET or PROXY_CERTIFICATE."
        )
        for message in error.problems:
            yield Problem("E005", f"{where}: {message}.", hint)


def _anchor_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        verifier_of(raw)
    except ConfigurationError as error:
        for message in error.problems:
            yield Problem("E006", f"MTLS_AUTH['TRUST_ANCHORS']: {message}.", "Name readable PEM files of CAs.")


def _diagnostics_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    token = raw.get("DIAGNOSTICS_TOKEN")
    try:
        if token is not None:
            Diagnostics(token=token, path=raw.get("DIAGNOSTICS_PATH", DEFAULT_PATH))
    except ConfigurationError as error:
        for message in error.problems:
            yield Problem("E002", f"MTLS_AUTH['DIAGNOSTICS_TOKEN']: {message}.", "Set None when no probe is running.")
