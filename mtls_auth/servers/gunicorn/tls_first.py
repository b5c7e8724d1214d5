"""Workers that do not start without the TLS that their configuration asks for."""

import sys
import time
from typing import TYPE_CHECKING, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.sock import ssl_context

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker
else:
    Worker = object

PATIENCE = 5  # seconds


class TLSFirst(Worker):
    """Builds the TLS context once before the worker counts as started: gunicorn stops where that fails.

    A worker of gunicorn's own that fails later is started again for ever, or serves plain HTTP.
    """

    def init_process(self) -> None:
        if self.cfg.is_ssl:
            self._build_context()
        elif self.cfg.ssl_context is not self.cfg.settings["ssl_context"].default or self.cfg.ca_certs:
            self._refuse("gunicorn speaks TLS only where certfile and keyfile are set: set them too")
        super().init_process()

    def _build_context(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                ssl_context(self.cfg)
            except Exception as error:  # whatever a hook raises
                if time.monotonic() > deadline:
                    self._refuse(f"the TLS context cannot be built: {error}")
                # This may be a worker that is started while files are being replaced.
                self.log.warning("the TLS context cannot be built, trying again: %s", error)
                time.sleep(1)
            else:
                return

    def _refuse(self, why: str) -> NoReturn:
        self.log.error("nothing is served: %s", why)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
