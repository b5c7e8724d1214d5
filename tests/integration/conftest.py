"""The laboratory that the tests on real servers share."""

from collections.abc import Iterator

import pytest

from tests.integration.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Certificates, a SQLite database, and servers that start when first asked for."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()
