"""Pairing in a real browser over TLS, the page's stop, and the administrator's list of browsers."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.collect.console.console_bench import requests
from tests.collect.console.network_bench import Station, station
from waldo.collect.console.view import STOP
from waldo.web.roles import Role

RECORD_SENT = """
window.sent = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (String(data).includes("stop")) window.sent.push(new URL(this.url).pathname);
  send.call(this, data);
};
"""
"""Records the path of each connection over which the page sends a stop."""

NO_STOP_LINE = """
const Original = window.WebSocket;
window.WebSocket = class extends Original {
  constructor(url) { super(String(url).endsWith("/stop") ? String(url).replace("/stop", "/nowhere") : url); }
};
window.fetch = () => Promise.reject(new Error("no network"));
"""
"""Lets the connections for stops fail, and requests too."""


@pytest.fixture
def desk(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Station]:
    """A console on the network, whose certificate the browser's user has accepted."""
    browser.execute_cdp_cmd("Security.enable", {})
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
    with station(tmp_path, token="s3cret") as found:
        yield found
        browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": False})
    browser.get_log("browser"), browser.get_log("performance")


@pytest.fixture
def prepared(browser: webdriver.Chrome) -> Iterator[Callable[[str], None]]:
    """Return a function that runs a script at the start of every page until the end of the test."""
    added: list[str] = []

    def prepare(script: str) -> None:
        found = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        added.append(found["identifier"])

    yield prepare
    for identity in added:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identity})


def wait(browser: webdriver.Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda _: condition())


def text(browser: webdriver.Chrome, identity: str) -> str:
    return str(browser.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", identity))


def pair(browser: webdriver.Chrome, desk: Station, role: Role) -> str:
    """Open the address of a scanned code, until the console is shown; return the PIN."""
    pin = desk.pairing.offer(role)
    browser.get(f"{desk.url}/#pin={pin}")
    wait(browser, lambda: text(browser, "word") == "FOLLOWING")
    return pin


def test_a_scanned_code_pairs_and_leaves_no_pin_in_any_address(browser: webdriver.Chrome, desk: Station) -> None:
    browser.get_log("performance")
    pin = pair(browser, desk, Role.OPERATE)
    assert browser.current_url == f"{desk.url}/"
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert f"{desk.url}/pair" in sent
    assert [url for url in sent if pin in url] == []
    history = browser.execute_cdp_cmd("Page.getNavigationHistory", {})["entries"]
    assert [entry["url"] for entry in history if pin in entry["url"]] == []
    (one,) = desk.security.paired.all()
    assert (one.role, one.name) == (Role.OPERATE, "Linux")
    assert browser.execute_script("return document.cookie") == ""
    browser.refresh()
    wait(browser, lambda: text(browser, "role") == "You operate this robot.")


def test_a_used_code_shows_why_it_is_refused(browser: webdriver.Chrome, desk: Station) -> None:
    pin = desk.pairing.offer(Role.OPERATE)
    desk.pairing.redeem(pin, "10.0.0.9")
    browser.get(f"{desk.url}/#pin={pin}")
    alert = "return document.querySelector('[role=alert]')?.innerText ?? ''"
    wait(browser, lambda: "This PIN is not valid" in browser.execute_script(alert))
    browser.find_element(By.ID, "token").send_keys("s3cret\n")
    wait(browser, lambda: text(browser, "word") == "FOLLOWING")


def test_the_stop_of_a_page_has_a_connection_of_its_own(
    browser: webdriver.Chrome, desk: Station, prepared: Callable[[str], None]
) -> None:
    prepared(RECORD_SENT)
    pair(browser, desk, Role.WATCH)
    ActionChains(browser).send_keys(" ").perform()
    assert requests(desk.console, 1) == [STOP]
    assert browser.execute_script("return window.sent")[0] == "/stop"


def test_the_stop_uses_the_session_when_its_connection_fails(
    browser: webdriver.Chrome, desk: Station, prepared: Callable[[str], None]
) -> None:
    prepared(NO_STOP_LINE)
    pair(browser, desk, Role.WATCH)
    browser.find_element(By.ID, "stop").click()
    assert requests(desk.console, 1) == [STOP]


def test_an_administrator_revokes_a_browser_on_the_page(browser: webdriver.Chrome, desk: Station) -> None:
    phone = desk.pair(Role.OPERATE, "phone")
    pair(browser, desk, Role.ADMINISTER)
    browser.get(f"{desk.url}/browsers")
    wait(browser, lambda: "phone" in text(browser, "browsers"))
    assert violations(browser) == []
    browser.find_element(By.CSS_SELECTOR, "[aria-label='Revoke phone']").click()
    wait(browser, lambda: "phone" not in text(browser, "browsers"))
    assert phone.get("/").status_code == 401


def test_a_revoked_page_shows_the_login_form(browser: webdriver.Chrome, desk: Station) -> None:
    pair(browser, desk, Role.OPERATE)
    administrator = desk.pair(Role.ADMINISTER)
    (own,) = [one.browser for one in desk.security.paired.all() if one.role is Role.OPERATE]
    administrator.delete(f"/browsers/{own}")
    wait(browser, lambda: browser.find_elements(By.ID, "pin"))
    assert violations(browser) == []


def violations(page: webdriver.Chrome) -> list[str]:
    """Return what axe-core finds on the open page."""
    page.execute_script(importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.execute_async_script("axe.run().then(arguments[0])")
    return [f"{one['impact']} {one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]
