import json
import math
import shutil
from collections.abc import Iterator

import pytest

pytest.importorskip("starlette", reason="the extra `fleet` is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from waldo.fleet.server import Site
from waldo.fleet.store import FleetStore

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with chromedriver on this machine")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900")


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def store(motor, clock) -> FleetStore:
    store = FleetStore()
    cool = motor(
        winding_celsius=31,
        housing_celsius=28,
        limit_celsius=70,
        time_to_limit_seconds=math.inf,
        duty_ratio=0.5,
        utilization_ratio=0.25,
        current_amperes=0.125,
    )
    store.add_motors("idle", {"elbow_flex": cool, "gripper": cool}, clock())
    hot = motor(winding_celsius=66, housing_celsius=51, limit_celsius=70, time_to_limit_seconds=42)
    store.add_motors("<b>busy</b>", {"elbow_flex": cool, "wrist_roll": hot}, clock())
    return store


@pytest.fixture
def page(browser, run_site, store, clock) -> Iterator[webdriver.Chrome]:
    """The browser with the page open; afterwards nothing may have gone wrong or out."""
    running = run_site(Site(store=store, clock=clock, token="s3cret"))
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(f"http://127.0.0.1:{running.port}/?token=s3cret")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert any("/events?token=s3cret" in url for url in asked)
    assert [url for url in asked if not url.startswith(f"http://127.0.0.1:{running.port}/")] == []
    browser.get("about:blank")


def wait_until(page: webdriver.Chrome, condition) -> None:
    WebDriverWait(page, 120, poll_frequency=0.1).until(lambda _: condition())


def cards(page: webdriver.Chrome) -> list[str]:
    return [heading.text for heading in page.find_elements(By.CSS_SELECTOR, "#robots h2")]


def cell(page: webdriver.Chrome, robot: int, row: int, column: str) -> str:
    rows = page.find_elements(By.CSS_SELECTOR, ".robot")[robot].find_elements(By.CSS_SELECTOR, "tbody tr")
    return rows[row].find_element(By.CLASS_NAME, column).text


def test_values_appear_the_most_urgent_robot_first(page) -> None:
    wait_until(page, lambda: cards(page) == ["<b>busy</b>", "idle"])
    assert page.find_element(By.ID, "next-time").text == "42 s"
    assert page.find_element(By.ID, "next-who").text == "<b>busy</b>, wrist roll"
    assert page.title == "42 s · waldo fleet"
    assert page.find_element(By.ID, "summary").text == "2 live"
    assert page.find_element(By.ID, "connection").text == "live"
    found = [cell(page, 1, 0, name) for name in ("winding", "housing", "limit", "left", "duty", "use", "current")]
    assert found == ["31.0 °C", "28.0 °C", "70 °C", "∞", "50 %", "25 %", "0.13 A"]
    assert cell(page, 0, 1, "current") == "–"
    levels = [li.get_attribute("data-level") for li in page.find_elements(By.CSS_SELECTOR, ".strip li")]
    assert levels == ["cool", "hot", "cool", "cool"]


def test_a_motor_at_its_limit_leads_and_says_so(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    values = motor(winding_celsius=71, limit_celsius=70, time_to_limit_seconds=0)
    store.add_motors("idle", {"gripper": values}, clock())
    wait_until(page, lambda: page.find_element(By.ID, "next-time").text == "At the limit")
    wait_until(page, lambda: cards(page) == ["idle", "<b>busy</b>"])
    assert page.find_element(By.ID, "next-who").text == "idle, gripper"
    idle = page.find_element(By.CSS_SELECTOR, ".robot")
    assert idle.find_element(By.CLASS_NAME, "left-who").text == "gripper is at its limit"
    assert idle.find_element(By.CSS_SELECTOR, ".title .chip").text == "at the limit"
    assert cell(page, 0, 1, "left") == "now"
    announced = page.find_element(By.ID, "announce").get_attribute("textContent")
    assert set(announced.split(". ")) == {
        "<b>busy</b>: wrist roll is about to reach its limit",
        "idle: gripper is at its limit",
    }


def test_values_change_live_and_the_chart_grows(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    for n in range(1, 4):
        clock.now_s += 3
        values = motor(winding_celsius=40 + n, limit_celsius=70, time_to_limit_seconds=200 - n)
        store.add_motors("idle", {"elbow_flex": values}, clock())
        wait_until(page, lambda n=n: f"{40 + n}.0 °C" in page.find_element(By.ID, "robots").text)
    idle = page.find_element(By.XPATH, "//article[.//h2='idle']")
    drawn = idle.find_element(By.CSS_SELECTOR, ".big .winding").get_attribute("d")
    assert drawn.count("M") + drawn.count("L") == 4
    assert idle.find_element(By.CSS_SELECTOR, ".big svg").get_attribute("aria-label") == (
        "winding over the last 2 minutes: 31 to 43 °C"
    )


def test_a_silent_robot_goes_stale_and_comes_back(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    clock.now_s += 8
    store.add_motors("idle", {"elbow_flex": motor(winding_celsius=32)}, clock())
    clock.now_s += 5
    wait_until(page, lambda: cards(page) == ["idle", "<b>busy</b>"])
    busy = page.find_elements(By.CSS_SELECTOR, ".robot")[1]
    assert "stale" in busy.get_attribute("class")
    assert busy.find_element(By.CSS_SELECTOR, ".title .chip").text == "stale, last heard 13 s ago"
    assert busy.find_element(By.CLASS_NAME, "left-time").text == "No data"
    assert page.find_element(By.ID, "summary").text == "1 live, 1 stale"
    assert page.find_element(By.ID, "announce").get_attribute("textContent") == "<b>busy</b> is stale"
    store.add_motors("<b>busy</b>", {"wrist_roll": motor(winding_celsius=33)}, clock())
    wait_until(page, lambda: page.find_element(By.ID, "summary").text == "2 live")
    assert "stale" not in busy.get_attribute("class")


def test_the_keyboard_opens_and_closes_the_motors(page) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    details = page.find_element(By.CSS_SELECTOR, ".robot details")
    summary = details.find_element(By.TAG_NAME, "summary")
    assert details.get_attribute("open") == "true"
    summary.send_keys(Keys.ENTER)
    wait_until(page, lambda: details.get_attribute("open") is None)
    assert summary.text == "2 motors"


def test_a_phone_needs_no_sideways_scrolling(page) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    metrics = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") == 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_empty_fleet_says_what_it_waits_for_and_a_lost_server_shows(browser, run_site, clock) -> None:
    running = run_site(Site(store=FleetStore(), clock=clock))
    browser.get(f"http://127.0.0.1:{running.port}/")
    wait_until(browser, lambda: "No robot has spoken yet." in browser.find_element(By.ID, "empty").text)
    assert not browser.find_element(By.ID, "next").is_displayed()
    assert not browser.find_element(By.ID, "error").is_displayed()
    running.server.stop()
    wait_until(browser, lambda: browser.find_element(By.ID, "connection").text.startswith("no connection for"))
    assert "offline" in browser.find_element(By.TAG_NAME, "body").get_attribute("class")
    browser.get("about:blank")
