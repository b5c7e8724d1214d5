"""The options that name sources: each `--dialect` begins one, and what follows belongs to it."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mtls_auth.cli.assignments import header_names
from mtls_auth.dialect import Dialect
from mtls_auth.dialects import BUILTIN
from mtls_auth.errors import ConfigurationError
from mtls_auth.forwarded import Forwarded
from mtls_auth.peers import TrustedProxies
from mtls_auth.policy import Fingerprint
from mtls_auth.proxy_certificate import ProxyCertificate
from mtls_auth.proxy_secret import DEFAULT_HEADER, ProxySecret
from mtls_auth.sources import AgreeingSources, Source, TLSSocket

SOCKET = "tls"


@dataclass(slots=True)
class SourceOptions:
    """What the arguments say of one source, unchecked."""

    dialect: str = ""
    header: list[str] = field(default_factory=list)
    trust: list[str] = field(default_factory=list)
    secret: list[str] = field(default_factory=list)
    secret_header: list[str] = field(default_factory=list)
    proxy_certificate: list[str] = field(default_factory=list)
    proxy_verifies: bool = False

    def forwarded(self, common: "SourceOptions") -> Forwarded:
        """Build the source; raise `ConfigurationError` naming the options."""
        row = dialect_named(self.dialect, SOCKET)
        trust, secrets = self.trust + common.trust, self.secret + common.secret
        pins = self.proxy_certificate + common.proxy_certificate
        if not trust and not secrets and not pins:
            raise ConfigurationError(
                f"--dialect {self.dialect}: nobody is trusted: name the proxy's network or socket with --trust, its "
                "--secret, or its --proxy-certificate"
            )
        header = (self.secret_header + common.secret_header or [DEFAULT_HEADER])[0]
        names = header_names(self.header + common.header)
        return Forwarded(
            dialect=_named("--header", lambda: row.with_headers(**names)),
            proxies=_named("--trust", lambda: TrustedProxies.parse(trust), _TRUST_FORM) if trust else None,
            secret=_named("--secret", lambda: ProxySecret(*secrets, header=header)) if secrets else None,
            certificate=_pinned(pins) if pins else None,
            proxy_verifies=self.proxy_verifies or common.proxy_verifies,
        )


_TRUST_FORM = "; write 10.0.0.0/8, 192.0.2.7 or unix:/run/app.sock"


class _OfSource(argparse.Action):
    """Adds a value to the source that the last `--dialect` began, or to what holds for all of them."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        sources: list[SourceOptions] = getattr(options, "sources", None) or [SourceOptions()]
        options.sources = sources
        if self.dest == "dialect":
            sources.append(SourceOptions(dialect=values))
        elif self.nargs == 0:
            setattr(sources[-1], self.dest, True)
        else:
            getattr(sources[-1], self.dest).append(values)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand."""
    add = parser.add_argument_group(
        "sources", "Each --dialect begins a source, and what follows belongs to it; what comes first holds for all."
    ).add_argument
    names = ", ".join((SOCKET, *BUILTIN))
    add("--dialect", action=_OfSource, metavar="NAME", help=f"how the proxy writes: {names} (repeatable)")
    add(
        "--header",
        action=_OfSource,
        metavar="FIELD=NAME",
        help="how your proxy names a header of the dialect: leaf=ssl-client-cert (repeatable)",
    )
    add(
        "--trust",
        action=_OfSource,
        metavar="CIDR|unix:PATH",
        help="a network, address or Unix socket of a trusted proxy (repeatable)",
    )
    add("--secret", action=_OfSource, metavar="VALUE", help="the secret that the proxy sends (twice: either)")
    add("--secret-header", action=_OfSource, metavar="NAME", help=f"its header; {DEFAULT_HEADER} by default")
    add(
        "--proxy-certificate",
        action=_OfSource,
        metavar="SHA256",
        help="the fingerprint of the proxy's own client certificate (repeatable)",
    )
    add(
        "--proxy-verifies",
        action=_OfSource,
        nargs=0,
        help="the proxy forwards no certificate that it did not verify",
    )


def sources_of(options: Namespace) -> list[Forwarded | TLSSocket]:
    """Return the named sources. Raises `ConfigurationError`, also without any."""
    common, *named = getattr(options, "sources", None) or [SourceOptions()]
    if not named:
        raise ConfigurationError(f"no source is named: give --dialect {SOCKET}, or one of {', '.join(BUILTIN)}")
    pins = [pin for source in (common, *named) for pin in source.proxy_certificate]
    return [
        TLSSocket(_pinned(pins) if pins else None) if source.dialect == SOCKET else source.forwarded(common)
        for source in named
    ]


def dialect_named(name: str, *others: str) -> Dialect:
    """Return the built-in dialect. Raises `ConfigurationError`, which names *others* that the option takes as well."""
    if name not in BUILTIN:
        raise ConfigurationError(f"--dialect {name!r} is not known: name one of {', '.join((*others, *BUILTIN))}")
    return BUILTIN[name]


def agreed(sources: Sequence[Source]) -> Source:
    """Return the sources as one."""
    return sources[0] if len(sources) == 1 else AgreeingSources(sources)


def _pinned(pins: list[str]) -> ProxyCertificate:
    certificate: ProxyCertificate = _named("--proxy-certificate", lambda: ProxyCertificate(Fingerprint(*pins)))
    return certificate


def _named(option: str, make: Any, advice: str = "") -> Any:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(*(f"{option}: {problem}{advice}" for problem in error.problems)) from error
