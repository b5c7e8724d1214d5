"""Everything that is wrong with a configuration, collected before any of it is said."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from mtls_auth.certificate import PARSER_ERRORS
from mtls_auth.errors import ConfigurationError


class Problems(list[str]):
    """What is wrong, a sentence each."""

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Add what is wrong with *what* to the rest, and go on."""
        try:
            yield
        except ConfigurationError as error:
            self.extend(error.problems)
        except ssl.SSLError as error:
            self.append(f"{what}: {_words_of(error)}")
        except OSError as error:
            self.append(f"{what}: {error.strerror}")
        except PARSER_ERRORS as error:
            self.append(f"{what}: {error}")

    def check(self) -> None:
        """Raise `ConfigurationError` if there are any."""
        if self:
            raise ConfigurationError(*self)


def _words_of(error: ssl.SSLError) -> str:
    reason: str | None = getattr(error, "reason", None)  # set by OpenSSL alone
    if reason is not None:
        return reason.replace("_", " ").lower()
    text = str(error.args[-1] if error.args else error)
    return "it cannot be read" if "_ssl.c" in text else text
