"""The setting `MTLS_AUTH`: one dict, read once into a frozen `Settings`, every problem reported at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from mtls_auth import (
    AnyVerifiedCertificate,
    Authenticator,
    ConfigurationError,
    Denied,
    Dialect,
    Forwarded,
    PathVerifier,
    Policy,
    Source,
    TLSSocket,
    TrustedProxies,
    VouchedFor,
)
from mtls_auth.cache import MAX_ENTRIES
from mtls_auth.dialects import BUILTIN

DeniedView = Callable[[HttpRequest, Denied], HttpResponseBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The keys of `MTLS_AUTH`, their types and defaults."""

    source: str | Dialect
    """`"tls"` for the Python server's own TLS socket, or the proxy's dialect: a name, a `Dialect`, a dotted path."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks and Unix sockets (`"unix:/run/app.sock"`) of the proxy; needed with a dialect."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Other header names for the dialect: `{"leaf": "ssl-client-cert", "verdict": "ssl-client-verify"}`."""
    proxy_verifies: bool = False
    """The operator's word that the proxy forwards only what it verified; for dialects without a verdict."""
    server_address_is_peer: bool = False
    """Nothing rewrites `REMOTE_ADDR`; for servers that hide the transport peer."""
    trust_anchors: tuple[str | Path, ...] = ()
    """PEM files of CAs: then the application verifies every certificate itself."""
    mapping: str = "fingerprint"
    """`"fingerprint"`: enrolled certificates. `"common_name"`: the common name is the user name."""
    policy: Policy | None = None
    """Whom the site admits at all. Without one: every certificate that stands for a user."""
    required: bool = False
    """Refuse every request without a certificate."""
    session: str | None = None
    """None: `request.user` follows the certificate on each request. `"certificate"`, `"user"`: log into a session
    that ends when the certificate, or its user, changes or goes."""
    max_staleness: float | None = None
    """None: each request asks the database. Seconds: how old a known state may be."""
    denied_view: DeniedView | None = None
    """Dotted path of `view(request, denied)` that answers denials."""
    cache_entries: int = MAX_ENTRIES
    """How many parsed certificates each process remembers; about 2 kB each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration, under the id of its system check."""

    id: str
    message: str
    hint: str


_KEYS = {item.name.upper(): item.name for item in fields(Settings)}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "SOURCE": (str, Dialect),
    "HEADERS": (Mapping,),
    "PROXY_VERIFIES": (bool,),
    "SERVER_ADDRESS_IS_PEER": (bool,),
    "MAPPING": (str,),
    "POLICY": (Policy, type(None)),
    "REQUIRED": (bool,),
    "SESSION": (str, type(None)),
    "MAX_STALENESS": (int, float, type(None)),
    "CACHE_ENTRIES": (int,),
}
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
    for key, types in _TYPES.items():
        if key in raw and (not isinstance(raw[key], types) or (isinstance(raw[key], bool) and bool not in types)):
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
            yield Problem("E002", f"MTLS_AUTH[{key!r}] is {type(raw[key]).__name__}.", f"Give {names}.")
        elif key in raw and key in _CHOICES and raw[key] not in _CHOICES[key]:
            choices = ", ".join(map(repr, _CHOICES[key]))
            yield Problem("E002", f"MTLS_AUTH[{key!r}] is {raw[key]!r}.", f"Give one of {choices}.")
        elif key in ("MAX_STALENESS", "CACHE_ENTRIES") and (raw.get(key) or 0) < 0:
            yield Problem("E002", f"MTLS_AUTH[{key!r}] is negative.", "Give zero or more.")
    try:
        _denied_view(raw)
    except (ImportError, TypeError) as error:
        yield Problem("E002", f"MTLS_AUTH['DENIED_VIEW']: {error}.", "Give the dotted path of view(request, denied).")


def _combination_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        source = _source(raw)
    except _SourceError as error:
        yield from error.problems
        return
    try:
        verifier = _verifier(raw)
    except ConfigurationError as error:
        for message in error.problems:
            yield Problem("E006", f"MTLS_AUTH['TRUST_ANCHORS']: {message}.", "Name readable PEM files of CAs.")
        return
    if verifier.needs_vouching and not source.vouches:
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


class _SourceError(Exception):
    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


def _source(raw: Mapping[str, Any]) -> Source:
    if raw["SOURCE"] == "tls":
        unused = [key for key in ("TRUSTED_PROXIES", "HEADERS", "PROXY_VERIFIES") if raw.get(key)]
        if unused:
            message = f"MTLS_AUTH reads the TLS socket and has {', '.join(unused)}, which are for proxies."
            raise _SourceError(Problem("E004", message, "Remove them, or name the proxy's dialect as SOURCE."))
        return TLSSocket()
    try:
        dialect = _dialect(raw["SOURCE"]).with_headers(**raw.get("HEADERS", {}))
    except (ImportError, ConfigurationError, TypeError) as error:
        message = f"MTLS_AUTH['SOURCE']: {error}."
        raise _SourceError(Problem("E003", message, f"The dialects are {', '.join(BUILTIN)}.")) from error
    try:
        proxies = TrustedProxies.parse(raw.get("TRUSTED_PROXIES", ()))
    except ConfigurationError as error:
        hint = "List the networks or Unix sockets from which your proxy connects, and no others."
        raise _SourceError(
            *(Problem("E005", f"MTLS_AUTH['TRUSTED_PROXIES']: {message}.", hint) for message in error.problems)
        ) from error
    return Forwarded(
        dialect=dialect,
        proxies=proxies,
        proxy_verifies=raw.get("PROXY_VERIFIES", False),
        server_address_is_peer=raw.get("SERVER_ADDRESS_IS_PEER", False),
    )


def _dialect(value: str | Dialect) -> Dialect:
    if isinstance(value, str):
        value = BUILTIN[value] if value in BUILTIN else import_string(value)
    if not isinstance(value, Dialect):
        raise TypeError(f"{value!r} is not a Dialect")
    return value


def _verifier(raw: Mapping[str, Any]) -> PathVerifier | VouchedFor:
    files = _anchor_files(raw)
    return PathVerifier.from_files(*files) if files else VouchedFor()


def _anchor_files(raw: Mapping[str, Any]) -> tuple[str | Path, ...]:
    files = raw.get("TRUST_ANCHORS") or ()
    return (files,) if isinstance(files, str | Path) else tuple(files)


def _denied_view(raw: Mapping[str, Any]) -> DeniedView | None:
    view = raw.get("DENIED_VIEW")
    if isinstance(view, str):
        view = import_string(view)
    if view is not None and not callable(view):
        raise TypeError(f"{view!r} is not callable")
    return view


@cache
def get_settings() -> Settings:
    """Return the settings; raise `ImproperlyConfigured` with every problem at once."""
    raw: Any = getattr(django_settings, "MTLS_AUTH", None)
    if problems := problems_of(raw):
        raise ImproperlyConfigured("\n".join(f"{problem.message} {problem.hint}" for problem in problems))
    values = {_KEYS[key]: value for key, value in raw.items()}
    values |= {
        "trusted_proxies": tuple(raw.get("TRUSTED_PROXIES", ())),
        "trust_anchors": _anchor_files(raw),
        "denied_view": _denied_view(raw),
    }
    return Settings(**values)


@cache
def get_authenticator() -> Authenticator:
    """Return the one authenticator of the project: middleware, commands and admin decide by it."""
    from django_mtls.directory import Directory  # here: it needs the models

    settings = get_settings()
    raw = django_settings.MTLS_AUTH
    return Authenticator(
        _source(raw),
        policy=settings.policy or AnyVerifiedCertificate(),
        verifier=_verifier(raw),
        mapper=Directory(by_common_name=settings.mapping == "common_name", max_staleness=settings.max_staleness),
        required=settings.required,
        cache_entries=settings.cache_entries,
    )


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"MTLS_AUTH", "AUTH_USER_MODEL", "DATABASE_ROUTERS"}:
        get_settings.cache_clear()
        get_authenticator.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django-mtls-conf")
