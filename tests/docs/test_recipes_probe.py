"""The recipes of the probe: the documentation's Nginx and Django, probed, and the same with a line forgotten."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.docs.recipes import recipe, run_shell, text_of
from tests.docs.site import MakeSite, Site
from tests.integration.servers import free_port, requires

# What else the test needs: a CA that the system does not know, no waiting, and one dialect for the time that it takes.
OPTIONS = " --ca client-ca.pem --rate 1000 --dialect nginx"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """The site with the endpoint switched on."""
    made = make_site.with_users()
    made.shell(text_of("django-enrol"))
    token = run_shell(text_of("probe-token"), made.directory).strip()
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    with (made.directory / "mysite/settings.py").open("a") as file:
        file.write(f"import os\nos.environ['MTLS_AUTH_TOKEN'] = '{token}'\n{text_of('probe-settings')}")
    (made.directory / "token").write_text(token)
    return made


@contextmanager
def served(site: Site, **replaced: str) -> Iterator[int]:
    """Serve the site behind the documentation's Nginx, with parts of its configuration replaced."""
    requires("nginx")
    port = free_port()
    with (
        site.server("nginx-gunicorn", site.here, site.socket),
        site.nginx(port, replaced={**site.here, **replaced}),
    ):
        yield port


def probe(site: Site, recipe_id: str, places: dict[str, str], status: int) -> str:
    """Run a recipe against this site and return the report."""
    command = text_of(recipe_id, places).rstrip() + OPTIONS
    token = (site.directory / "token").read_text()
    return run_shell(command, site.directory, status=status, MTLS_AUTH_TOKEN=token)


@recipe("probe-token", "probe-settings", "probe-run")
def test_a_clean_report(site: Site) -> None:
    """Nothing gets past the documentation's Nginx, with a certificate and without one."""
    with served(site) as port:
        report = probe(site, "probe-run", {"www.example.com": f"localhost:{port}"}, status=0)
    assert re.search(r"^0 of \d+ tricks got through, 0 could not be judged", report, re.MULTILINE)
    assert "with its certificate" in report


def test_a_report_of_a_gap(site: Site) -> None:
    """A line that is forgotten is found, and the page says what the report calls it."""
    forgotten = {"proxy_set_header X-SSL-Client-Verify $ssl_client_verify;": ""}
    with served(site, **forgotten) as port:
        report = probe(site, "probe-run", {"www.example.com": f"localhost:{port}"}, status=1)
    assert "GOT THROUGH" in report
    assert "proxy_set_header" in report, "the remedy"


@recipe("probe-direct")
def test_the_way_past_the_proxy(site: Site) -> None:
    """Whoever can open the socket is believed: the report says so."""
    with served(site) as port:
        places = {"www.example.com": f"localhost:{port}", "http://10.0.0.9:8000": f"unix:{site.socket}"}
        report = probe(site, "probe-direct", places, status=1)
    assert "GOT THROUGH" in report
    assert f"direct: unix:{site.socket}" in report
