"""The laboratory that the tests on real servers share."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.integration.deployments import Deployments
from tests.integration.lab import Lab
from tests.integration.tls_servers import Running


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Certificates, a SQLite database, and servers that start when first asked for."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def tls_servers(lab: Lab) -> Iterator[Running]:
    """Every server that ends TLS itself, with optional and with required certificates."""
    with ThreadPoolExecutor(4) as pool, closing(Running(lab, pool)) as running:
        yield running


@pytest.fixture(scope="session")
def deployments(lab: Lab) -> Iterator[Deployments]:
    """Terminators on their recipes with Python servers behind them, which start when first asked for."""
    deployments = Deployments(lab)
    yield deployments
    deployments.close()
