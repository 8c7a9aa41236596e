import json
import math
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from waldo.fleet.server import Site
from waldo.fleet.store import FleetStore
from waldo.robots import motor_readings
from waldo.robots.diagnostics import ERROR, OK, WARN, ComponentStatus


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
    """The browser with the page open; afterwards, no console error and no request to another host is allowed."""
    running = run_site(Site(store=store, clock=clock, token="s3cret"))
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(f"http://127.0.0.1:{running.port}/?token=s3cret")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert any("/events?token=s3cret" in url for url in urls)
    assert [url for url in urls if not url.startswith(f"http://127.0.0.1:{running.port}/")] == []
    browser.get("about:blank")


def wait_until(page: webdriver.Chrome, condition) -> None:
    WebDriverWait(page, 120, poll_frequency=0.1).until(lambda _: condition())


def cards(page: webdriver.Chrome) -> list[str]:
    return [heading.text for heading in page.find_elements(By.CSS_SELECTOR, "#robots h2")]


def cell(page: webdriver.Chrome, robot: int, row: int, column: str) -> str:
    rows = page.find_elements(By.CSS_SELECTOR, ".robot")[robot].find_elements(By.CSS_SELECTOR, ".motors tbody tr")
    return rows[row].find_element(By.CLASS_NAME, column).text


def test_values_appear_with_the_most_urgent_robot_first(page) -> None:
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


def test_a_motor_at_its_limit_is_shown_first(page, store, clock, motor) -> None:
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


def test_a_robot_without_messages_goes_stale_until_its_next_message(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    clock.now_s += 8
    store.add_motors("idle", {"elbow_flex": motor(winding_celsius=32)}, clock())
    clock.now_s += 5
    wait_until(page, lambda: cards(page) == ["idle", "<b>busy</b>"])
    busy = page.find_elements(By.CSS_SELECTOR, ".robot")[1]
    assert "stale" in busy.get_attribute("class")
    assert busy.find_element(By.CSS_SELECTOR, ".title .chip").text == "stale, last message 13 s ago"
    assert busy.find_element(By.CLASS_NAME, "left-time").text == "No data"
    assert page.find_element(By.ID, "summary").text == "1 live, 1 stale"
    assert page.find_element(By.ID, "announce").get_attribute("textContent") == "<b>busy</b> is stale"
    store.add_motors("<b>busy</b>", {"wrist_roll": motor(winding_celsius=33)}, clock())
    wait_until(page, lambda: page.find_element(By.ID, "summary").text == "2 live")
    assert "stale" not in busy.get_attribute("class")


def statuses(*found: ComponentStatus) -> dict[str, ComponentStatus]:
    return {status.component: status for status in found}


def test_faults_and_the_control_mode_are_shown_in_words_and_colors(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    control = ComponentStatus(component="control", level=WARN, message="holding: no command for 0.2 s")
    camera = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
    governor = ComponentStatus(component="governor", level=OK, message="full speed")
    store.add_components("idle", statuses(control, camera, governor), clock())
    overload = motor(level=WARN, message="winding at 31.0 °C; overload <b>", winding_celsius=31, limit_celsius=70)
    store.add_motors("idle", {"gripper": overload}, clock())
    idle = page.find_element(By.XPATH, "//article[.//h2='idle']")
    wait_until(page, lambda: len(idle.find_elements(By.CSS_SELECTOR, ".faults li")) == 2)
    lines = idle.find_elements(By.CSS_SELECTOR, ".faults li")
    assert [line.text.split("\n") for line in lines] == [
        ["error", "camera front: no frame for 3.0 s"],
        ["warning", "gripper: overload <b>"],
    ]
    inks = [line.find_element(By.TAG_NAME, "strong").value_of_css_property("color") for line in lines]
    assert len(set(inks)) == 2
    chip = idle.find_element(By.CSS_SELECTOR, ".chip.control")
    assert (chip.text, chip.get_attribute("data-status")) == ("holding: no command for 0.2 s", "warning")
    assert page.find_element(By.ID, "summary").text == "2 live, 3 faults"
    assert "idle: camera front: no frame for … s" in page.find_element(By.ID, "announce").get_attribute("textContent")
    row = idle.find_elements(By.CSS_SELECTOR, "table.motors tbody tr")[1]
    status = row.find_element(By.CLASS_NAME, "status")
    assert (status.text, status.get_attribute("title")) == ("warning", "winding at 31.0 °C; overload <b>")
    store.add_components("idle", statuses(ComponentStatus(component="camera front", message="30 Hz")), clock())
    wait_until(page, lambda: len(idle.find_elements(By.CSS_SELECTOR, ".faults li")) == 1)


def test_all_readings_lists_every_quantity_of_the_server(page) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    idle = page.find_element(By.XPATH, "//article[.//h2='idle']")
    idle.find_element(By.CSS_SELECTOR, ".readings summary").click()
    rows = idle.find_elements(By.CSS_SELECTOR, ".readings tbody tr")
    quantities = motor_readings.MOTOR_QUANTITIES
    assert [row.get_attribute("data-key") for row in rows] == [one.key for one in quantities]
    shown = {
        row.get_attribute("data-key"): [cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows
    }
    assert shown["housing_celsius"] == ["28.0 °C", "28.0 °C"]
    assert shown["time_to_limit_seconds"] == ["∞", "∞"]
    assert shown["duty_ratio"] == ["50 %", "50 %"]
    assert shown["torque_newton_metres"] == ["–", "–"]
    assert "[N·m]" in rows[[one.key for one in quantities].index("torque_newton_metres")].text


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


def test_an_empty_fleet_and_a_lost_server_are_shown(browser, run_site, clock) -> None:
    running = run_site(Site(store=FleetStore(), clock=clock))
    browser.get(f"http://127.0.0.1:{running.port}/")
    wait_until(browser, lambda: "No robot has been discovered." in browser.find_element(By.ID, "empty").text)
    assert not browser.find_element(By.ID, "next").is_displayed()
    assert not browser.find_element(By.ID, "error").is_displayed()
    running.server.stop()
    wait_until(browser, lambda: browser.find_element(By.ID, "connection").text.startswith("no connection for"))
    assert "offline" in browser.find_element(By.TAG_NAME, "body").get_attribute("class")
    browser.get("about:blank")
