"""The console in a real browser: what it shows, its keys, a second page, and a lost connection."""

from __future__ import annotations

import importlib.resources
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.collect.console.console_bench import Console, jpeg, requests, running, status
from tests.dashboards import motor_status
from tests.recordings import Script
from waldo.collect.console.review import EpisodeReview
from waldo.collect.notice import Notice
from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.robot_condition import RobotCondition
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Subtask
from waldo.datasets.quality.finding import Finding
from waldo.robots.diagnostics import ERROR
from waldo.web.security import Security


@pytest.fixture
def console() -> Iterator[Console]:
    with running() as found:
        yield found


@pytest.fixture
def page(browser: webdriver.Chrome, console: Console) -> Iterator[webdriver.Chrome]:
    """The browser with the console open; afterwards, no error and no request to another host is allowed."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(console.url)
    wait(browser, lambda: text(browser, "word") == "FOLLOWING")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(console.url)] == []
    browser.get("about:blank")


def wait(browser: webdriver.Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())


def text(browser: webdriver.Chrome, identity: str) -> str:
    # In one call, since a page may be replaced between finding an element and reading it.
    return str(browser.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", identity))


def click(browser: webdriver.Chrome, selector: str) -> None:
    """Click in the middle of the page, where neither the header nor the footer is."""
    found = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", found)
    found.click()


def press(browser: webdriver.Chrome, key: str) -> None:
    ActionChains(browser).send_keys(key).perform()


def listed(browser: webdriver.Chrome, selector: str) -> list[str]:
    # In one call, since the page replaces its rows.
    script = "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText)"
    return [str(one) for one in browser.execute_script(script, selector)]


def test_the_page_shows_robot_recorder_heat_and_streams(page: webdriver.Chrome, console: Console) -> None:
    console.view.status(status("recording", stopped=True))
    wait(page, lambda: text(page, "state") == "RECORDING")
    assert text(page, "elapsed") == "0:12"
    assert text(page, "task") == "lift the cube"
    assert text(page, "counts") == "3 of 10 saved"
    assert text(page, "heat-summary") == "gripper in 42 s; about 7 more episodes, then 3 min rest"
    assert listed(page, "#heat tr")[1].split("\t")[0] == "gripper"
    assert listed(page, "#streams li") == ["joints/state 99 Hz", "cameras/front no messages"]
    assert page.title == "FOLLOWING · arm"
    console.view.condition(
        RobotCondition(word="STOPPED", level=ERROR, reason="a motor is hot", action="then press v to enable the robot")
    )
    wait(page, lambda: text(page, "word") == "STOPPED")
    assert text(page, "reason") == "a motor is hot: then press v to enable the robot"
    # Readable from three meters: 2 % of the page's height and more.
    assert page.find_element(By.ID, "word").size["height"] > 40


def test_every_request_has_a_key_and_a_button(page: webdriver.Chrome, console: Console) -> None:
    keys = {"start": Keys.ENTER, "save": "1", "fail": "0", "discard": Keys.BACKSPACE, "undo": "z", "next_task": "t"}
    keys |= {"reset": "n", "enable": "v", "stop_motion": " "}
    for name, key in keys.items():
        press(page, key)
        assert requests(console, 1) == [name]
        button = page.find_element(By.CSS_SELECTOR, f"[data-request={name}]")
        button.click()
        assert requests(console, 1) == [name]
        page.execute_script("document.activeElement.blur()")
    # With the focus on a button, the space key stops the robot and does not press the button as well.
    page.execute_script("document.querySelector('[data-request=start]').focus()")
    press(page, " ")
    assert requests(console, 1) == ["stop_motion"]
    assert console.view.take_requests() == []


def test_a_breach_of_the_rules_is_shown_while_it_is_recorded(page: webdriver.Chrome, console: Console) -> None:
    frozen = Finding(level="problem", kind="frozen", stream="cameras/front", text="the image does not change for 2.0 s")
    late = Finding(level="problem", kind="lag", stream="", text="the joints follow their commands 0.60 s late")
    console.view.status(replace(status("recording"), breaches=(frozen, late), blocking=("frozen",)))
    wait(page, lambda: listed(page, "#gates li"))
    assert listed(page, "#gates li") == [
        "Blocks saving: frozen cameras/front: the image does not change for 2.0 s",
        "Quality: lag: the joints follow their commands 0.60 s late",
    ]
    console.view.status(status("idle"))
    wait(page, lambda: not listed(page, "#gates li"))


def test_a_second_page_watches_and_may_stop(page: webdriver.Chrome, console: Console) -> None:
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    try:
        page.get(console.url)
        wait(page, lambda: text(page, "role") == "127.0.0.1 operates; you watch.")
        assert not page.find_element(By.CSS_SELECTOR, "[data-request=start]").is_enabled()
        press(page, " ")
        press(page, Keys.ENTER)
        assert requests(console, 1) == ["stop_motion"]
        wait(page, lambda: "another page operates the robot; take control first" in listed(page, "#notices li"))
        press(page, "c")
        wait(page, lambda: "Control was asked for" in text(page, "role"))
        page.switch_to.window(first)
        wait(page, lambda: text(page, "role").startswith("You operate this robot. 127.0.0.1 asks for control."))
        press(page, "h")
        wait(page, lambda: "you watch" in text(page, "role"))
    finally:
        page.switch_to.window(page.window_handles[-1])
        page.close()
        page.switch_to.window(first)


def test_images_appear_with_their_latency_and_a_stale_one_is_marked(page: webdriver.Chrome, console: Console) -> None:
    end = time.monotonic() + 60
    while not listed(page, "figcaption") or "ms" not in listed(page, "figcaption")[0]:
        assert time.monotonic() < end
        console.view.image("cameras/front", jpeg(200), time.time_ns())
        time.sleep(0.05)
    script = "const c = document.querySelector('canvas'); return [...c.getContext('2d').getImageData(5, 5, 1, 1).data]"
    assert abs(page.execute_script(script)[0] - 200) < 5
    wait(page, lambda: listed(page, "figcaption")[0].startswith("front: no image for"))
    assert page.find_element(By.CSS_SELECTOR, "figure").get_attribute("data-stale") == "true"


def test_notices_are_read_out_once(page: webdriver.Chrome, console: Console) -> None:
    page.execute_script("window.spoken = []; speechSynthesis.speak = (one) => window.spoken.push(one.text)")
    press(page, "s")
    console.view.notice(Notice(text="start: recording", confirmation=True))
    console.view.notice(Notice(text="a detail"))
    wait(page, lambda: len(listed(page, "#notices li")) == 2)
    console.view.condition(RobotCondition(word="HOLDING", level=0))
    wait(page, lambda: "HOLDING" in page.execute_script("return window.spoken"))
    assert page.execute_script("return window.spoken") == ["announcements on", "start: recording", "HOLDING"]


def test_a_lost_console_is_shown_at_once_and_a_new_one_is_found(browser: webdriver.Chrome) -> None:
    with running() as console:
        browser.get(console.url)
        wait(browser, lambda: text(browser, "word") == "FOLLOWING")
        assert not browser.find_element(By.ID, "lost").is_displayed()
    wait(browser, lambda: browser.find_element(By.ID, "lost").is_displayed())
    browser.get("about:blank")
    browser.get_log("browser")


def test_it_fits_a_phone(page: webdriver.Chrome, console: Console) -> None:
    size: Any = page.get_window_size()
    try:
        page.set_window_size(500, 900)
        wait(page, lambda: page.execute_script("return innerWidth") < 600)
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert page.find_element(By.ID, "stop").is_displayed()
    finally:
        page.set_window_size(size["width"], size["height"])


def test_axe_finds_nothing(page: webdriver.Chrome, console: Console) -> None:
    """Names, roles, contrast and structure, by axe-core's rules."""
    console.view.notice(Notice(level=ERROR, text="an error"))
    console.view.status(replace(status(stopped=True), gates=(Gate(name="disk", reason="full soon"),)))
    console.view.image("cameras/front", jpeg(100), time.time_ns())
    wait(page, lambda: listed(page, "figcaption") and listed(page, "#gates li"))
    assert violations(page) == []
    with running(Security(token="s3cret", loopback=False)) as locked:
        page.get(locked.url)
        wait(page, lambda: page.find_elements(By.ID, "token"))
        assert violations(page) == []
    # The refused page is an error in the browser's log, and of another address.
    page.get_log("browser"), page.get_log("performance")


def violations(page: webdriver.Chrome) -> list[str]:
    """Return what axe-core finds on the open page."""
    page.execute_script(importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.execute_async_script("axe.run().then(arguments[0])")
    return [f"{one['impact']} {one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


def test_the_robot_is_drawn_in_the_colors_of_its_heat(page: webdriver.Chrome, console: Console) -> None:
    script = "return [...document.querySelectorAll('#body polygon')].map(one => [one.style.fill, one.dataset.level])"
    wait(page, lambda: page.execute_script(script) and page.execute_script(script)[0][0])
    ((hot, level),) = page.execute_script(script)
    assert level == "1"
    console.view.motors({"gripper": motor_status(winding_celsius=25.0, limit_celsius=70.0)})
    console.view.status(status())
    wait(page, lambda: page.execute_script(script)[0][0] != hot)
    page.execute_script("document.getElementById('heat-history').open = true")
    wait(page, lambda: page.execute_script("return document.querySelector('#heat-curves canvas') !== null"))


def test_the_page_states_whether_battery_or_heat_ends_the_session(page: webdriver.Chrome, console: Console) -> None:
    now_s = time.monotonic()
    for second in range(0, 600, 10):  # half of the charge in an hour
        console.view._battery.add(0.9 - second / 7200, now_s - 600 + second)
    console.view.status(status())
    wait(page, lambda: text(page, "battery").startswith("battery 82 %, empty in 1.6 h"))
    assert text(page, "heat-summary").endswith("; heat ends the session first")


def test_a_review_shows_relabels_deletes_and_marks_an_episode(
    browser: webdriver.Chrome, record: Callable[..., Dataset]
) -> None:
    """By the keys alone, apart from the choice of a label."""
    dataset = record(Script(), Script(seconds=2.0, seed=1, outcome="failure"))
    with running(review=EpisodeReview(Path(str(dataset.path)))) as console:
        browser.get(console.url)
        wait(browser, lambda: text(browser, "word") == "FOLLOWING")
        press(browser, "r")
        wait(browser, lambda: text(browser, "review-title") == "failure, 2.0 s")
        images = "return [...document.querySelectorAll('#review-cameras img')].map(one => one.naturalWidth && one.src)"
        wait(browser, lambda: len(browser.execute_script(images)) == 2 and all(browser.execute_script(images)))
        before = browser.execute_script(images)
        for _ in range(3):
            press(browser, Keys.ARROW_RIGHT)
        assert text(browser, "scrub-time") == "0.3 s"
        wait(browser, lambda: browser.execute_script(images) != before and all(browser.execute_script(images)))
        browser.find_element(By.ID, "subtask-text").send_keys("lift the cube", Keys.ENTER)
        wait(browser, lambda: listed(browser, "#subtasks li") == ["0.3 s lift the cube Remove"])
        assert text(browser, "scrub-subtask") == "lift the cube"
        click(browser, "[data-outcome=success]")
        wait(browser, lambda: text(browser, "review-title") == "success, 2.0 s")
        click(browser, "#delete")
        wait(browser, lambda: text(browser, "review-title") == "success, deleted, 2.0 s")
        assert list(dataset.indices) == [0]
        click(browser, "#delete")
        wait(browser, lambda: text(browser, "review-title") == "success, 2.0 s")
        assert dataset.episode(1).subtasks == (Subtask(start_s=0.3, text="lift the cube"),)
        assert violations(browser) == []
        # A key stops the robot while the slider has the focus, and the start of an episode closes the review.
        click(browser, "#scrub")
        press(browser, " ")
        assert requests(console, 1) == ["stop_motion"]
        console.view.status(status("recording"))
        wait(browser, lambda: not browser.find_element(By.ID, "review").is_displayed())
        browser.get("about:blank")
