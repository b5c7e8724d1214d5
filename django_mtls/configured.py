"""The objects that `MTLS_AUTH` names: each function reads the raw dict, and raises what its problem is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from mtls_auth import (
    ConfigurationError,
    Denied,
    Dialect,
    Forwarded,
    PathVerifier,
    Source,
    TLSSocket,
    TrustedProxies,
    Verifier,
    VouchedFor,
)
from mtls_auth.dialects import BUILTIN

DeniedView = Callable[[HttpRequest, Denied], HttpResponseBase]


def source_of(raw: Mapping[str, Any]) -> Source:
    """Return the source. Raises `ConfigurationError` for the proxies, and what `dialect_of` raises."""
    if raw["SOURCE"] == "tls":
        return TLSSocket()
    return Forwarded(
        dialect=dialect_of(raw),
        proxies=TrustedProxies.parse(raw.get("TRUSTED_PROXIES", ())),
        proxy_verifies=raw.get("PROXY_VERIFIES", False),
        server_address_is_peer=raw.get("SERVER_ADDRESS_IS_PEER", False),
    )


def dialect_of(raw: Mapping[str, Any]) -> Dialect:
    """Return the dialect with its header names. Raises `ConfigurationError`, `ImportError`, `TypeError`."""
    value = raw["SOURCE"]
    if isinstance(value, str):
        value = BUILTIN[value] if value in BUILTIN else import_string(value)
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
