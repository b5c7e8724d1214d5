"""Workers that do not start without the TLS that their configuration asks for."""

import sys
from typing import TYPE_CHECKING, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.sock import ssl_context

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker
else:
    Worker = object


class TLSFirst(Worker):
    """Builds the TLS context once before the worker counts as started: gunicorn stops where that fails.

    A worker of gunicorn's own that fails later is started again for ever, or serves plain HTTP.
    """

    def init_process(self) -> None:
        if self.cfg.is_ssl:
            try:
                ssl_context(self.cfg)
            except Exception as error:  # whatever a hook raises
                self._refuse(f"the TLS context cannot be built: {error}")
        elif self.cfg.ssl_context is not self.cfg.settings["ssl_context"].default:
            self._refuse("gunicorn asks ssl_context only where certfile and keyfile are set: set them beside it")
        super().init_process()

    def _refuse(self, why: str) -> NoReturn:
        self.log.error("nothing is served: %s", why)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
