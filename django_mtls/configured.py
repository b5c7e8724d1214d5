"""The objects that `MTLS_AUTH` names: each function reads the raw dict, and raises what its problem is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from mtls_auth import (
    AgreeingSources,
    AnyOf,
    ConfigurationError,
    Denied,
    Dialect,
    Forwarded,
    PathVerifier,
    ProxyCertificate,
    ProxySecret,
    ServerEnviron,
    ServerVariables,
    Source,
    TLSSocket,
    TrustedProxies,
    Verifier,
    VouchedFor,
)
from mtls_auth.dialects import BUILTIN
from mtls_auth.proxy_secret import DEFAULT_HEADER
from mtls_auth.server_environ import BUILTIN_VARIABLES

_TRUST = ("TRUSTED_PROXIES", "PROXY_SECRET", "PROXY_CERTIFICATE")

DeniedView = Callable[[HttpRequest, Denied], HttpResponseBase]


def source_of(raw: Mapping[str, Any]) -> Source:
    """Return the source. Raises `ConfigurationError` for who is trusted, and what `format_of` raises."""
    parts = parts_of(raw)
    sources = [_part(part, parts) for part in parts]
    return AgreeingSources(sources) if len(sources) > 1 else sources[0]


def parts_of(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the dicts that name one source each."""
    return list(raw["SOURCES"]) if raw.get("SOURCES") else [raw]


def _part(raw: Mapping[str, Any], parts: list[Mapping[str, Any]]) -> Source:
    if raw["SOURCE"] == "tls":
        pinned = [part["PROXY_CERTIFICATE"] for part in parts if part.get("PROXY_CERTIFICATE") is not None]
        return TLSSocket(ProxyCertificate(AnyOf(*pinned)) if pinned else None)
    found = format_of(raw)
    if isinstance(found, ServerVariables):
        return ServerEnviron(found)
    return Forwarded(dialect=found, **trust_of(raw))


def trust_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return who may speak, as the arguments of `Forwarded`; raise `ConfigurationError` with everything wrong."""
    proxies, secret, certificate = (raw.get(name) for name in _TRUST)
    made: dict[str, Any] = {
        "proxy_verifies": raw.get("PROXY_VERIFIES", False),
        "server_address_is_peer": raw.get("SERVER_ADDRESS_IS_PEER", False),
    }
    problems: list[str] = []
    secrets = (secret,) if isinstance(secret, str) else tuple(secret or ())
    # An empty list of secrets names none: whoever wrote one wanted some.
    wants_secret = secret is not None or "PROXY_SECRET_HEADER" in raw
    header = raw.get("PROXY_SECRET_HEADER", DEFAULT_HEADER)
    makers: dict[str, Callable[[], object]] = {
        "proxies": lambda: TrustedProxies.parse(proxies) if proxies is not None else None,
        "secret": lambda: ProxySecret(*secrets, header=header) if wants_secret else None,
        "certificate": lambda: ProxyCertificate(certificate) if certificate is not None else None,
    }
    for name, make in makers.items():
        try:
            made[name] = make()
        except ConfigurationError as error:
            problems += error.problems
    if not problems and all(made[name] is None for name in makers):
        problems = [f"nobody is trusted: give {', '.join(_TRUST[:-1])} or {_TRUST[-1]}"]
    if problems:
        raise ConfigurationError(*problems)
    return made


def format_of(raw: Mapping[str, Any]) -> Dialect | ServerVariables:
    """Return the dialect with its header names, or the server's variables.

    Raises `ConfigurationError`, `ImportError`, `TypeError`.
    """
    value = raw["SOURCE"]
    if isinstance(value, str):
        named: object = BUILTIN.get(value) or BUILTIN_VARIABLES.get(value)
        value = named if named is not None else import_string(value)
    if isinstance(value, ServerVariables):
        return value
    if not isinstance(value, Dialect):
        raise TypeError(f"{value!r} is not a Dialect")
    names = raw.get("HEADERS", {})
    if wrong := [name for name in (*names, *names.values()) if not isinstance(name, str)]:
        raise ConfigurationError(f"header name {wrong[0]!r}: give text")
    return value.with_headers(**names)


def verifier_of(raw: Mapping[str, Any]) -> Verifier:
    """Return the verifier; raise `ConfigurationError` for trust anchors that cannot be used."""
    files = anchor_files_of(raw)
    return PathVerifier.from_files(*files) if files else VouchedFor()


def anchor_files_of(raw: Mapping[str, Any]) -> tuple[str | Path, ...]:
    """Return the files of the trust anchors, given one or several; raise `ConfigurationError` for what is no path."""
    files = raw.get("TRUST_ANCHORS") or ()
    several = (files,) if isinstance(files, str | Path) else tuple(files)
    if wrong := [file for file in several if not isinstance(file, str | Path)]:
        raise ConfigurationError(f"{wrong[0]!r} is not a path")
    return several


def denied_view_of(raw: Mapping[str, Any]) -> DeniedView | None:
    """Return the operator's view, None without one. Raises `ImportError`, `TypeError`."""
    view: Any = raw.get("DENIED_VIEW")
    if isinstance(view, str):
        view = import_string(view)
    if view is not None and (not callable(view) or iscoroutinefunction(view)):
        raise TypeError(f"{view!r} is not a function, or is async")
    found: DeniedView | None = view
    return found
