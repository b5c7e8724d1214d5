"""The fixture `tls_servers`, for the test modules that name this plugin."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.integration.lab import Lab
from tests.integration.tls_servers import Running


@pytest.fixture(scope="session")
def tls_servers(lab: Lab) -> Iterator[Running]:
    """Every server that ends TLS itself, with optional and with required certificates."""
    with ThreadPoolExecutor(4) as pool, closing(Running(lab, pool)) as running:
        yield running
