"""The admin in a real browser: by mouse, by keyboard alone, in light and dark, wide and narrow.

Screenshots of every page go to the directory that `MTLS_SCREENSHOTS` names, or to the test's own.
"""

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from pytest_django.live_server_helper import LiveServer
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from django_mtls import lifecycle
from django_mtls.models import CRLReason, EnrolledCertificate, Revocation
from mtls_auth import load_certificate
from mtls_auth.testing import CertificateAuthority
from tests.integration.servers import requires
from tests.pki import BrokenLeaves

LIST = "/admin/django_mtls/enrolledcertificate/"
LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "narrow": ("light", 400)}
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)

CA = CertificateAuthority("Example CA")
LEAVES = BrokenLeaves(CA)

# Everything that takes input, and is shown, has a name; one h1; no heading level is skipped downwards in the content.
PROBLEMS = """
const shown = element => element.getClientRects().length > 0;
const problems = [];
const named = element => element.labels?.length || element.getAttribute("aria-label")
    || (element.getAttribute("aria-labelledby") ?? "").split(" ").some(id => document.getElementById(id)?.textContent);
for (const element of document.querySelectorAll("input, select, textarea, [role=combobox]")) {
    if (["hidden", "submit", "button"].includes(element.type) || !shown(element)) continue;
    if (!named(element)) problems.push("no name: " + element.outerHTML.slice(0, 120));
}
const headings = [...document.querySelectorAll("#content :is(h1, h2, h3, h4, h5, h6)")].filter(shown);
if (document.querySelectorAll("h1").length !== 1) problems.push("not one h1");
let level = 1;
for (const heading of headings) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) problems.push("heading skipped before " + heading.textContent.trim());
    level = next;
}
const ids = [...document.querySelectorAll("[id]")].map(element => element.id);
for (const id of ids.filter((id, index) => ids.indexOf(id) !== index)) problems.push("id twice: " + id);
for (const element of document.querySelectorAll("[tabindex]")) {
    if (element.tabIndex > 0) problems.push("order of focus: " + element.outerHTML.slice(0, 120));
}
if (document.documentElement.scrollWidth > window.innerWidth) problems.push("wider than the window");
return problems;
"""


class Browser:
    """A browser on the live server, signed in by password."""

    def __init__(self, driver: webdriver.Chrome, url: str, screenshots: Path) -> None:
        """Take a driver."""
        self.driver = driver
        self.url = url
        self.screenshots = screenshots

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self.url + path)

    def find(self, selector: str) -> WebElement:
        """Return the element of this CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def follow(self, element: WebElement, key: str | None = None) -> None:
        """Click an element, or press a key on it, and wait until the next page is there."""
        page = self.find("html")
        if key is None:
            element.click()
        else:
            element.send_keys(key)
        self.wait(lambda: self.is_gone(page))
        self.wait(lambda: self.driver.execute_script("return document.readyState") == "complete")

    def is_gone(self, element: WebElement) -> bool:
        """Whether an element is of a page that was left."""
        try:
            return not element.is_enabled()
        except StaleElementReferenceException:
            return True

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until *condition* is true."""
        return WebDriverWait(self.driver, 20).until(lambda _driver: condition())

    def sign_in(self, name: str, password: str) -> None:
        """Sign in with a password."""
        self.open("/admin/login/?next=/admin/")
        self.find("[name=username]").send_keys(name)
        self.find("[name=password]").send_keys(password)
        self.follow(self.find("[type=submit]"))

    @property
    def focused(self) -> WebElement:
        """The element that has the focus."""
        return self.driver.switch_to.active_element

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        self.focused.send_keys(*keys)

    def tab_to(self, matches: Callable[[WebElement], bool]) -> list[str]:
        """Press Tab until an element matches; return the names of the fields and buttons on the way."""
        way = []
        for _step in range(100):
            self.press(Keys.TAB)
            element = self.focused
            way.append(element.get_attribute("name") or element.text or element.get_attribute("value") or "")
            if matches(element):
                return way
        pytest.fail(f"not reached by keyboard; on the way: {way}")

    @property
    def text(self) -> str:
        """The text of the page."""
        return self.find("body").text

    def check(self, name: str) -> None:
        """Look at the page as people do, in every look: it has no problem, and a screenshot is kept."""
        for look, (scheme, width) in LOOKS.items():
            media = [{"name": "prefers-color-scheme", "value": scheme}]
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            assert self.driver.execute_script(PROBLEMS) == [], f"{name}, {look}"
            shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
            (self.screenshots / f"{name}-{look}.png").write_bytes(base64.b64decode(shot["data"]))
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One browser with an empty profile."""
    chromium, chromedriver = requires("chromium"), requires("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for option in (*OPTIONS.split(), f"--user-data-dir={profile}"):
        options.add_argument(option)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    service = Service(chromedriver, env={**environment, "HOME": str(profile), "TMPDIR": str(profile)})
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(30)
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def browser(driver: webdriver.Chrome, live_server: LiveServer, admin_user: Any, tmp_path: Path) -> Browser:
    """The browser, signed in as a superuser."""
    screenshots = Path(os.environ.get("MTLS_SCREENSHOTS") or tmp_path)
    screenshots.mkdir(parents=True, exist_ok=True)
    browser = Browser(driver, live_server.url, screenshots)
    driver.delete_all_cookies()
    browser.sign_in(admin_user.get_username(), "password")
    driver.delete_cookie("messages")
    return browser


@pytest.fixture
def alice(transactional_db: None) -> Any:
    """A user."""
    return get_user_model()._default_manager.create(username="alice")


def enrolled(user: Any, label: str = "") -> EnrolledCertificate:
    """Enrol a new certificate."""
    return lifecycle.enroll(load_certificate(CA.issue(user.get_username()).der), user, label=label)


def paste(element: WebElement, text: str) -> None:
    """Put a text into a field at once, as a clipboard does."""
    element.parent.execute_script("arguments[0].value = arguments[1]", element, text)


def test_enrol_by_paste(browser: Browser, alice: Any) -> None:
    """A certificate is enrolled by paste; its user is found by typing; the page shows every fact."""
    browser.open(f"{LIST}add/")
    browser.check("add")
    browser.find(".select2-selection").send_keys(Keys.ENTER)
    browser.find(".select2-search__field").send_keys("ali")
    browser.wait(lambda: browser.driver.find_elements(By.CSS_SELECTOR, ".select2-results__option--highlighted"))
    browser.wait(lambda: "alice" in browser.find(".select2-results__option--highlighted").text)
    browser.find(".select2-search__field").send_keys(Keys.ENTER)
    browser.find("[name=label]").send_keys("laptop")
    leaf = LEAVES.through_intermediate
    paste(browser.find("[name=pem]"), leaf.pem.decode())
    browser.follow(browser.find("[name=_save]"))
    row = EnrolledCertificate.objects.get()
    assert (row.user, row.label, row.fingerprint_sha256) == (alice, "laptop", leaf.fingerprint_sha256)
    browser.check("list")
    browser.follow(browser.driver.find_element(By.LINK_TEXT, "alice"))
    browser.check("certificate")
    for fact in (
        "CN=alice,OU=Ops",
        "spiffe://example.com/alice",
        row.fingerprint_sha256,
        "clientAuth",
        row.serial_number,
    ):
        assert fact in browser.text
    assert browser.find("#mtls-pem").get_attribute("value") == leaf.pem.decode()
    browser.find("#mtls-pem + p button").click()
    assert browser.find("#mtls-pem + p [role=status]").text == "Copied"


def test_enrol_by_upload(browser: Browser, alice: Any, tmp_path: Path) -> None:
    """A file with a private key is refused, with the reason beside the field; then the certificate is accepted."""
    key, certificate = tmp_path / "alice.p12", tmp_path / "alice.der"
    key.write_bytes(LEAVES.good.p12("password", "alice"))
    certificate.write_bytes(LEAVES.good.der)
    browser.open(f"{LIST}add/?user={alice.pk}")
    browser.find("[name=file]").send_keys(str(key))
    browser.follow(browser.find("[name=_save]"))
    assert browser.driver.title.startswith("Error: ")
    assert "Refused: it holds a private key" in browser.text
    field = browser.find("[name=file]")
    assert field.get_attribute("aria-invalid") == "true"
    described = [browser.find(f"#{name}").text for name in (field.get_attribute("aria-describedby") or "").split()]
    assert any("PKCS#7" in text for text in described)
    browser.check("add-refused")
    browser.find("[name=file]").send_keys(str(certificate))
    browser.follow(browser.find("[name=_save]"))
    assert EnrolledCertificate.objects.get().fingerprint_sha256 == LEAVES.good.fingerprint_sha256


def test_pasted_key_is_gone(browser: Browser, alice: Any) -> None:
    """A private key that was pasted is not on the page any more."""
    browser.open(f"{LIST}add/?user={alice.pk}")
    secret = LEAVES.good.key_pem.decode()
    paste(browser.find("[name=pem]"), secret)
    browser.follow(browser.find("[name=_save]"))
    assert browser.find("[name=pem]").get_attribute("value") == ""
    assert secret.splitlines()[1] not in browser.driver.page_source
    browser.check("add-key")


def test_revoke_by_keyboard(browser: Browser, alice: Any) -> None:
    """A certificate is revoked without a mouse: the fields come in the order in which they are read."""
    row = enrolled(alice, "laptop")
    browser.open(f"{LIST}{row.pk}/change/")
    browser.find("body").click()
    browser.tab_to(lambda element: element.text.lower() == "revoke…")
    browser.follow(browser.focused, Keys.ENTER)
    browser.check("revoke")
    way = browser.tab_to(lambda element: element.get_attribute("name") == "revocation_reason")
    assert str(row) in way
    browser.press("Key")
    assert browser.tab_to(lambda element: element.tag_name == "textarea") == ["comment"]
    browser.press("Lost on a train")
    assert browser.tab_to(lambda element: element.get_attribute("type") == "submit") == ["Yes, revoke"]
    browser.follow(browser.focused, Keys.ENTER)
    revocation = Revocation.objects.get()
    assert (revocation.reason, revocation.comment) == (CRLReason.KEY_COMPROMISE, "Lost on a train")
    assert "1 certificate was revoked." in browser.text
    browser.check("revoked")
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, "a.historylink"))
    assert "Lost on a train" in browser.text
    browser.check("history")


def test_taken_back(browser: Browser, alice: Any) -> None:
    """The confirmation page can be left without a change."""
    row = enrolled(alice)
    browser.open(f"{LIST}{row.pk}/change/")
    browser.follow(browser.driver.find_element(By.CSS_SELECTOR, ".object-tools a[href*=suspend]"))
    browser.check("suspend")
    browser.follow(browser.find(".cancel-link"))
    assert browser.driver.current_url.endswith(f"{row.pk}/change/")
    row.refresh_from_db()
    assert row.state == "active"


def test_revoke_many(browser: Browser, alice: Any) -> None:
    """Several certificates are selected in the list, and a missing reason is asked for."""
    for label in ("laptop", "phone", "tablet"):
        enrolled(alice, label)
    browser.open(LIST)
    for box in browser.driver.find_elements(By.CSS_SELECTOR, "input.action-select")[:2]:
        box.click()
    browser.find("select[name=action]").send_keys("Revoke")
    browser.follow(browser.find("button[name=index]"))
    browser.check("revoke-many")
    browser.follow(browser.find("#content input[type=submit]"))
    assert "This field is required." in browser.text
    browser.check("revoke-error")
    browser.find("[name=revocation_reason]").send_keys("Superseded")
    browser.follow(browser.find("#content input[type=submit]"))
    assert "2 certificates were revoked." in browser.text
    states = EnrolledCertificate.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["active", "revoked", "revoked"]


def test_users_page(browser: Browser, alice: Any) -> None:
    """The user's page shows the certificates, and leads to the enrolment of another one."""
    enrolled(alice, "laptop")
    browser.open(f"/admin/auth/user/{alice.pk}/change/")
    group = browser.find("#client_certificates-group")
    assert "laptop" in group.text
    browser.driver.execute_script("arguments[0].scrollIntoView()", group)
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    (browser.screenshots / "user.png").write_bytes(base64.b64decode(shot["data"]))
    browser.follow(browser.driver.find_element(By.LINK_TEXT, "Enrol a certificate for this user"))
    assert browser.find(".select2-selection__rendered").text.endswith("alice")


def test_revocations(browser: Browser, alice: Any) -> None:
    """A certificate that was never enrolled is revoked by issuer and serial number."""
    browser.open("/admin/django_mtls/revocation/add/")
    browser.check("revocation-add")
    browser.find("[name=reason]").send_keys("CA")
    browser.find("[name=issuer]").send_keys("CN=Example CA")
    browser.find("[name=serial_number]").send_keys("AB:CD:" * 8 + "EF")
    browser.follow(browser.find("[name=_continue]"))
    row = Revocation.objects.get()
    assert (row.serial_number, row.reason) == ("abcd" * 8 + "ef", "cACompromise")
    browser.check("revocation")
    browser.open("/admin/django_mtls/revocation/")
    browser.check("revocations")
