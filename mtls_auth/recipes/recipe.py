"""One terminator's recipe: its configuration, and the settings of the application behind it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mtls_auth.dialects import BUILTIN
from mtls_auth.errors import ConfigurationError
from mtls_auth.recipes.application import FORMATS, Format, Trusted, settings_text
from mtls_auth.recipes.places import Places
from mtls_auth.recipes.template import fill

NO_FOLDER = "/etc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One terminator: templates of its configuration, and what the application has to be told.

    `dialect` is None where no header carries the certificate: then `server_source` is what the Python server itself
    says, by the name that Django's `SOURCE` takes.
    """

    name: str
    title: str
    files: Mapping[str, str]
    """File name, as the operator saves it, to the name of its template."""
    dialect: str | None = None
    server_source: str | None = None
    folder: str = NO_FOLDER
    """Where the files lie, unless `Places.folder` says otherwise."""
    formats: tuple[Format, ...] = FORMATS
    """The kinds of application that can stand behind it."""
    address: str | None = None
    """A Python expression for the address from which it connects, where that is never the operator's choice."""
    secret: bool = True
    """Whether the terminator can send `X-Proxy-Secret`."""
    states_names: bool = False
    """Whether it says the name of its client, and forwards no certificate."""
    observed: bool = True
    """Whether this configuration was run; False for one that follows the terminator's documentation."""
    notes: tuple[str, ...] = ()
    """What the operator has to know and no comment of the files says."""

    def configuration(self, places: Places) -> dict[str, str]:
        """Return the text of each file, for the operator to paste."""
        values = places.values(self.folder)
        return {name: fill(resource, values) for name, resource in self.files.items()}

    def settings(self, format: Format, places: Places, *, peer_hidden: bool = False) -> str:
        """Return Python text: for `wsgi` and `asgi` it wraps the `application` or `app` that exists already.

        With *peer_hidden*, for servers that do not tell who connected, the secret alone is asked for.
        Raises `ConfigurationError` where that leaves nothing to ask for.
        """
        if format not in self.formats:
            raise ConfigurationError(f"{self.name} serves {' and '.join(self.formats)}, not {format}")
        if self.dialect is None:
            return settings_text(format, Trusted(server_source=self.server_source))
        if peer_hidden and not self.secret:
            raise ConfigurationError(f"{self.name} sends no secret: use a server that tells who connected")
        dialect = BUILTIN[self.dialect]
        return settings_text(
            format,
            Trusted(
                dialect=dialect.name,
                address=None if peer_hidden else self.address or f'"{places.proxy_address}"',
                secret=places.secret if self.secret else None,
                # What the configuration above makes true of a terminator that gives no verdict.
                proxy_verifies=not (dialect.unverified or dialect.has_verdict),
                trust_anchors=places.client_ca if dialect.unverified else None,
                stated_names=self.states_names,
            ),
        )
