"""A real browser with a client certificate on the example: signed in without a password, and what it can do."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.integration.browser import Chromium
from tests.integration.example import Example, Surroundings
from tests.integration.servers import Response, curl

WAYS = {
    "direct": ("--app", "django"),
    "nginx": ("--app", "starlette", "--behind", "nginx"),
}


class Scene(NamedTuple):
    """The running example, and two browsers that trust its CA and hold both certificates: alice's and bob's."""

    example: Example
    alice: WebDriver
    bob: WebDriver


@pytest.fixture(scope="module", params=[*WAYS.values()], ids=[*WAYS])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The example and its visitors."""
    with ExitStack() as stack:
        example = stack.enter_context(Example(Surroundings(tmp_path_factory.mktemp("site")), *request.param))
        pki = example.directory / "pki"
        p12 = {pki / f"{user}.p12": "example" for user in ("alice", "bob")}
        drivers = [
            stack.enter_context(
                Chromium(tmp_path_factory.mktemp(user), ca=pki / "ca.pem", p12=p12, chosen=user, site=example.url)
            )
            for user in ("alice", "bob")
        ]
        yield Scene(example, *drivers)


@pytest.fixture
def restored(scene: Scene) -> Iterator[Scene]:
    """The same; revocations are taken back afterwards."""
    yield scene
    scene.example.restore()


def text_of(driver: WebDriver) -> str:
    """Return what the page shows."""
    return str(driver.execute_script("return document.body.innerText"))


def wait_for_text(driver: WebDriver, text: str) -> None:
    """Wait until the page that a click leads to shows *text*."""
    WebDriverWait(driver, 20, ignored_exceptions=[JavascriptException]).until(lambda driver: text in text_of(driver))


def curl_as_bob(example: Example) -> Response:
    """Ask with curl who bob is."""
    certificate, key = example.files_of("bob")
    return curl(f"{example.url}/whoami", cacert=example.directory / "pki" / "ca.pem", cert=certificate, key=key)


def test_the_front_page_knows_the_visitor(scene: Scene) -> None:
    """The browser presents the certificate from its store, and the page greets its user."""
    for user, driver in (("alice", scene.alice), ("bob", scene.bob)):
        driver.get(f"{scene.example.url}/")
        assert driver.find_element(By.TAG_NAME, "h1").text == f"You are {user}"
        assert scene.example.files_of(user).fingerprint in text_of(driver)


def test_signed_in_without_a_password(scene: Scene, tmp_path: Path) -> None:
    """alice opens the admin and is there; no login page, no password field. bob is asked to log in."""
    scene.alice.get(f"{scene.example.url}/admin/")
    assert "WELCOME, ALICE" in text_of(scene.alice).upper()
    assert scene.alice.find_elements(By.CSS_SELECTOR, "input[type=password]") == []
    scene.alice.save_screenshot(str(tmp_path / "admin.png"))
    scene.bob.get(f"{scene.example.url}/admin/")
    assert scene.bob.current_url.startswith(f"{scene.example.url}/admin/login/")


def test_revoke_in_the_browser(restored: Scene, tmp_path: Path) -> None:
    """alice revokes bob's certificate on the admin's pages; then curl and the browser of bob are refused."""
    example, alice, bob = restored
    assert json.loads(curl_as_bob(example).body)["user"] == "bob"
    bob.get(f"{example.url}/whoami")
    alice.get(f"{example.url}/admin/")
    alice.find_element(By.LINK_TEXT, "Enrolled certificates").click()
    alice.save_screenshot(str(tmp_path / "list.png"))
    alice.find_element(By.XPATH, "//table[@id='result_list']//th/a[text()='bob']").click()
    alice.save_screenshot(str(tmp_path / "certificate.png"))
    alice.find_element(By.CSS_SELECTOR, ".object-tools a[href*='/revoke/']").click()
    Select(alice.find_element(By.NAME, "revocation_reason")).select_by_value("keyCompromise")
    alice.find_element(By.NAME, "comment").send_keys("The laptop was stolen.")
    alice.save_screenshot(str(tmp_path / "confirmation.png"))
    alice.find_element(By.CSS_SELECTOR, "#content-main input[type=submit]").click()
    wait_for_text(alice, "1 certificate was revoked.")
    alice.save_screenshot(str(tmp_path / "revoked.png"))
    response = curl_as_bob(example)
    assert (response.status, json.loads(response.body)["reason"]) == (403, "revoked")
    bob.get(f"{example.url}/whoami")
    assert "revoked" in text_of(bob)
    assert example.files_of("bob").fingerprint not in text_of(bob)


def test_websocket_in_the_browser(scene: Scene) -> None:
    """A WebSocket that a page opens carries the certificate too, where the example has one."""
    scene.alice.get(f"{scene.example.url}/whoami")
    message = scene.alice.execute_async_script(
        """
        const done = arguments[0], socket = new WebSocket(`wss://${location.host}/ws`);
        socket.onmessage = event => done(event.data);
        socket.onerror = () => done(null);
        """
    )
    if "starlette" in scene.example.process.command:
        assert json.loads(message)["user"] == "alice"
    else:
        assert message is None
