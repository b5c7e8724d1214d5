"""Chromium with client certificates in its own store, chosen without a dialog; leaves nothing on the machine."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

from tests.integration.servers import requires, unavailable

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Chromium:
    """A headless Chromium of a user who imported a CA and PKCS#12 files, for the length of a `with` block."""

    def __init__(self, home: Path, *, ca: Path, p12: dict[Path, str], chosen: str | None, site: str) -> None:
        """Fill the store below *home*; at *site* the certificate with the common name *chosen* is presented."""
        store = home / ".pki" / "nssdb"
        store.mkdir(parents=True)
        database = ("-d", f"sql:{store}")
        certutil, pk12util = requires("certutil"), requires("pk12util")
        _run(certutil, "-N", *database, "--empty-password")
        _run(certutil, "-A", *database, "-n", "ca", "-t", "C,,", "-i", str(ca))
        for path, password in p12.items():
            _run(pk12util, *database, "-i", str(path), "-W", password)
        self._home = home
        options = webdriver.ChromeOptions()
        options.binary_location = _find_chromium()
        for argument in ("--headless=new", "--disable-dev-shm-usage", "--window-size=1280,1000"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        # What the policy AutoSelectCertificateForUrls becomes in the profile: the policy itself would need /etc.
        rules = [{"pattern": site, "filter": {"SUBJECT": {"CN": chosen}}}] if chosen else []
        preference = "profile.managed_auto_select_certificate_for_urls"
        options.add_experimental_option("prefs", {preference: [json.dumps(rule) for rule in rules]})
        self._options = options
        self._driver: WebDriver | None = None

    def __enter__(self) -> WebDriver:
        """Start it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        service = Service(
            requires("chromedriver"), env={**environment, "HOME": str(self._home), "TMPDIR": str(self._home)}
        )
        self._driver = webdriver.Chrome(options=self._options, service=service)
        self._driver.set_page_load_timeout(30)
        return self._driver

    def __exit__(self, *_error: object) -> None:
        """End it."""
        if self._driver is not None:
            self._driver.quit()


def _find_chromium() -> str:
    for name in _NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    unavailable("chromium")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
