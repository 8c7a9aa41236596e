import json
import math
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from waldo.fleet.server import Site
from waldo.fleet.store import FleetStore
from waldo.robots import motor_readings
from waldo.robots.diagnostics import ERROR, OK, WARN, ComponentStatus
from waldo.web.security import Security


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


@pytest.fixture(autouse=True)
def _fast_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send events ten times a second: most of these tests wait for some of them."""
    monkeypatch.setattr("waldo.fleet.feed.EVENT_PERIOD_S", 0.1)


@pytest.fixture
def page(browser, run_site, store, clock) -> Iterator[webdriver.Chrome]:
    """The browser with the page open; afterwards, no console error and no request to another host is allowed."""
    running = run_site(Site(store=store, clock=clock, security=Security(application="fleet", token="s3cret")))
    log_in(browser, running.port, "s3cret")
    browser.get_log("browser"), browser.get_log("performance")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if "s3cret" in url] == []
    assert [url for url in urls if not url.startswith(f"http://127.0.0.1:{running.port}/")] == []
    browser.get("about:blank")


def log_in(browser: webdriver.Chrome, port: int, token: str) -> None:
    browser.get(f"http://127.0.0.1:{port}/")
    browser.delete_all_cookies()
    browser.refresh()
    field = browser.find_element(By.ID, "token")
    field.send_keys(token, Keys.ENTER)


def wait_until(page: webdriver.Chrome, condition) -> None:
    # The page may be replaced between finding an element and reading it.
    replaced = [StaleElementReferenceException]
    WebDriverWait(page, 120, poll_frequency=0.1, ignored_exceptions=replaced).until(lambda _: condition())


def cards(page: webdriver.Chrome) -> list[str]:
    # In one call, since the page may remove a card between two.
    return page.execute_script("return [...document.querySelectorAll('#robots h2')].map(one => one.innerText)")


def statuses(*found: ComponentStatus) -> dict[str, ComponentStatus]:
    return {status.component: status for status in found}


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


def test_no_line_is_drawn_across_missing_time(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    for step, value in ((2, 40), (2, 41), (30, 42), (2, 43), (30, 44)):
        clock.now_s += step
        store.add_motors("idle", {"elbow_flex": motor(winding_celsius=value, limit_celsius=70)}, clock())
        wait_until(page, lambda value=value: f"{value}.0 °C" in page.find_element(By.ID, "robots").text)
    idle = page.find_element(By.XPATH, "//article[.//h2='idle']")
    for name, stretches in (("winding", 3), ("housing", 1), ("area", 2)):
        drawn = idle.find_element(By.CSS_SELECTOR, f".motors tr .chart .{name}").get_attribute("d")
        assert drawn.count("M") == stretches, name
    page.refresh()
    # A new page receives a recent state and then the updates since.
    wait_until(page, lambda: "44.0 °C" in page.find_element(By.ID, "robots").text)
    idle = page.find_element(By.XPATH, "//article[.//h2='idle']")
    drawn = idle.find_element(By.CSS_SELECTOR, ".motors tr .chart .winding").get_attribute("d")
    lines = [part.count("L") for part in drawn.split("M")[1:]]
    assert lines == [2, 1, 0]
    assert drawn.endswith("h0")  # a dot


def test_robots_that_need_attention_are_listed_with_the_reason(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    section = page.find_element(By.ID, "attention")
    assert not section.is_displayed()
    control = ComponentStatus(
        component="control", level=ERROR, message="stopped: on request", values={"mode": "stopped"}
    )
    waiting = ComponentStatus(component="control", message="holding: waiting for a command", values={"mode": "holding"})
    camera = ComponentStatus(component="camera front", level=ERROR, message="no frame")
    store.add_components("idle", statuses(control, camera), clock())
    store.add_components("<b>busy</b>", statuses(waiting), clock())
    wait_until(page, section.is_displayed)
    lines = [item.text.split("\n") for item in section.find_elements(By.TAG_NAME, "li")]
    assert lines == [["idle", "stopped: on request; camera front: no frame"]]
    assert page.find_element(By.ID, "summary").text == "2 live, 1 stopped, 1 holding, 2 faults"
    link = section.find_element(By.TAG_NAME, "a").get_attribute("hash")
    assert page.find_element(By.CSS_SELECTOR, f"{link} h2").text == "idle"
    clock.now_s += 13
    store.add_components("idle", statuses(control), clock())
    wait_until(page, lambda: len(section.find_elements(By.TAG_NAME, "li")) == 2)
    lines = [item.text.replace("\n", " ") for item in section.find_elements(By.TAG_NAME, "li")]
    assert lines[1] == "<b>busy</b> stale, last message 13 s ago"


def test_a_stale_robot_can_be_forgotten_with_a_button(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    clock.now_s += 13
    cool = motor(winding_celsius=32)
    store.add_motors("idle", {"elbow_flex": cool, "gripper": cool}, clock())
    wait_until(page, lambda: cards(page) == ["idle", "<b>busy</b>"])
    idle, busy = page.find_elements(By.CSS_SELECTOR, ".robot .forget")
    assert (idle.is_displayed(), busy.is_displayed()) == (False, True)
    busy.click()
    wait_until(page, lambda: cards(page) == ["idle"])
    assert [robot.name for robot in store.robots(clock())] == ["idle"]
    assert page.find_element(By.ID, "summary").text == "1 live"


def test_a_robot_without_messages_goes_stale_until_its_next_message(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    clock.now_s += 8
    cool = motor(winding_celsius=32)
    store.add_motors("idle", {"elbow_flex": cool, "gripper": cool}, clock())
    clock.now_s += 5
    wait_until(page, lambda: cards(page) == ["idle", "<b>busy</b>"])
    busy = page.find_elements(By.CSS_SELECTOR, ".robot")[1]
    assert "stale" in busy.get_attribute("class")
    assert busy.find_element(By.CSS_SELECTOR, ".title .chip").text == "stale, last message 13 s ago"
    assert busy.find_element(By.CLASS_NAME, "left-time").text == "No data"
    assert page.find_element(By.ID, "summary").text == "1 live, 1 stale"
    assert page.find_element(By.ID, "announce").get_attribute("textContent") == "<b>busy</b> is stale"
    store.add_motors("<b>busy</b>", {"elbow_flex": cool, "wrist_roll": cool}, clock())
    wait_until(page, lambda: page.find_element(By.ID, "summary").text == "2 live")
    assert "stale" not in busy.get_attribute("class")


def test_faults_and_the_control_mode_are_shown_in_words_and_colors(page, store, clock, motor) -> None:
    wait_until(page, lambda: len(cards(page)) == 2)
    control = ComponentStatus(
        component="control", level=WARN, message="holding: no command for 0.2 s", values={"mode": "holding"}
    )
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
    assert page.find_element(By.ID, "summary").text == "2 live, 1 holding, 3 faults"
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
    quantities = motor_readings.MOTOR_QUANTITIES
    # The details open with an event, in which they are filled.
    wait_until(page, lambda: idle.find_elements(By.CSS_SELECTOR, ".readings tbody tr"))
    rows = idle.find_elements(By.CSS_SELECTOR, ".readings tbody tr")
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


def test_a_wrong_token_is_reported_by_the_login_form(browser, run_site, clock) -> None:
    running = run_site(Site(store=FleetStore(), clock=clock, security=Security(application="fleet", token="s3cret")))
    log_in(browser, running.port, "wrong")
    # In one call: the page is replaced by the answer meanwhile.
    alert = "return document.querySelector('[role=alert]')?.innerText"
    wait_until(browser, lambda: browser.execute_script(alert) == "This is not the token.")
    browser.get("about:blank")


def test_a_refused_stream_is_explained_and_tried_again(browser, run_site, clock) -> None:
    running = run_site(Site(store=FleetStore(), clock=clock, max_browsers=1))
    first = running.request("/events")
    assert first.readline() == b"event: all\n"
    browser.get(f"http://127.0.0.1:{running.port}/")
    error = browser.find_element(By.ID, "error")
    wait_until(browser, lambda: error.text.startswith("the maximum of open pages is reached (1)"))
    first.close()
    running.open[0].close()
    wait_until(browser, lambda: browser.find_element(By.ID, "connection").text == "live")
    assert not error.is_displayed()
    browser.get("about:blank")


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
