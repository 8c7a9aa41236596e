"""Who operates: one page, until it is closed or hands over; every page may stop the robot."""

from __future__ import annotations

import json

import pytest

from tests.collect.console.console_bench import JOINTS, jpeg, pixels, status
from tests.dashboards import motor_status
from waldo.collect.console.view import MAX_REQUEST_AGE_S, MAX_WAITING, NOTICES, REQUESTS, STOP, ConsoleView
from waldo.collect.notice import Notice
from waldo.robots.diagnostics import ERROR


@pytest.fixture
def view() -> ConsoleView:
    return ConsoleView("arm", JOINTS)


def opened(view: ConsoleView, page: int) -> list[bool]:
    """Open a page; return what it is woken with."""
    woken: list[bool] = []
    view.open_page(page, f"10.0.0.{page}", woken.append)
    return woken


def role(view: ConsoleView, page: int) -> str:
    return str(view.state(page)["role"])


def test_the_first_page_operates_and_the_others_watch(view: ConsoleView) -> None:
    opened(view, 1), opened(view, 2)
    assert (role(view, 1), role(view, 2)) == ("operator", "watcher")
    assert view.request(1, "start", 0.0) == ""
    assert view.request(2, "save", 0.0) == "another page operates the robot; take control first"
    assert view.take_requests() == ["start"]
    assert view.take_requests() == []


def test_every_page_may_stop_the_robot_however_late(view: ConsoleView) -> None:
    opened(view, 1), opened(view, 2)
    assert view.request(2, STOP, 99.0) == ""
    assert view.request(1, STOP, float("inf")) == ""
    assert view.take_requests() == [STOP]


@pytest.mark.parametrize("age_s", [MAX_REQUEST_AGE_S + 0.1, -MAX_REQUEST_AGE_S - 0.1, float("inf"), float("nan")])
def test_a_late_request_is_dropped(view: ConsoleView, age_s: float) -> None:
    opened(view, 1)
    for name in REQUESTS:
        if name != STOP:
            assert "late and was dropped; press it again" in view.request(1, name, age_s)
    assert view.take_requests() == []


def test_an_unknown_request_is_refused(view: ConsoleView) -> None:
    opened(view, 1)
    assert view.request(1, "shutdown", 0.0) == "there is no request 'shutdown'"
    assert view.take_requests() == []


def test_control_is_handed_over_by_the_page_that_has_it(view: ConsoleView) -> None:
    opened(view, 1), opened(view, 2)
    view.hand_over(2)
    view.take_control(2)
    assert role(view, 1) == "operator"
    assert view.state(1)["asking"] == "10.0.0.2"
    view.hand_over(1)
    assert (role(view, 1), role(view, 2)) == ("watcher", "operator")
    assert view.request(1, "start", 0.0)
    view.hand_over(2)
    assert view.state(1)["operator"] == ""
    view.take_control(1)
    assert role(view, 1) == "operator"


def test_a_closed_page_leaves_control_to_the_one_that_asked(view: ConsoleView) -> None:
    opened(view, 1), opened(view, 2), opened(view, 3)
    view.take_control(3)
    view.close_page(1)
    assert (role(view, 2), role(view, 3)) == ("watcher", "operator")
    view.take_control(2)
    view.close_page(2)
    view.close_page(3)
    opened(view, 4)
    assert role(view, 4) == "operator"
    assert view.state(4)["asking"] == ""


def test_a_page_that_may_only_watch_never_operates(view: ConsoleView) -> None:
    view.open_page(1, "phone", lambda _: None, may_operate=False)
    assert role(view, 1) == "watcher"
    view.take_control(1)
    view.force_control(1)
    view.take_control(9)
    assert view.state(1)["operator"] == ""
    opened(view, 2)
    assert role(view, 2) == "operator"
    view.take_control(1)
    assert view.state(2)["asking"] == ""
    view.close_page(2)
    assert role(view, 1) == "watcher"
    assert view.request(1, STOP, 0.0) == ""


def test_control_is_taken_by_force(view: ConsoleView) -> None:
    opened(view, 1), opened(view, 2), opened(view, 3)
    view.take_control(2)
    view.take_control(3)
    view.force_control(3)
    assert (role(view, 1), role(view, 3)) == ("watcher", "operator")
    assert view.state(3)["asking"] == ""
    assert view.request(1, "start", 0.0) == "another page operates the robot; take control first"


def test_the_age_of_requests_is_an_option() -> None:
    view = ConsoleView("arm", JOINTS, max_request_age_s=3.0)
    opened(view, 1)
    assert view.request(1, "start", 2.9) == ""
    assert "late and was dropped" in view.request(1, "start", 3.1)


def test_pages_are_woken_by_what_is_new(view: ConsoleView) -> None:
    woken = opened(view, 1)
    woken.clear()
    view.notice(Notice(text="hello"))
    view.status(status())
    view.image("cameras/front", jpeg(10), 5)
    view.image("depth/front", pixels(1), 5)
    assert woken == [False, False, True]
    assert [(one.camera, one.number, one.stamp_ns) for one in view.images()] == [("front", 1, 5)]
    view.image("cameras/front", pixels(20), 6)
    (newest,) = view.images()
    assert newest.number == 2
    assert newest.jpeg().startswith(b"\xff\xd8")


def test_the_state_is_json_also_with_unknown_values(view: ConsoleView) -> None:
    opened(view, 1)
    assert view.state(1)["recorder"] is None
    for number in range(NOTICES + 5):
        view.notice(Notice(level=ERROR, text=f"notice {number}"))
    view.status(status("recording", stopped=True))
    view.motors({"gripper": motor_status(winding_celsius=60.0), "another": motor_status()})
    state = view.state(1)
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert [motor["joint"] for motor in state["heat"]] == ["gripper"]
    assert state["heat"][0]["time_to_limit_seconds"] is None
    assert state["recorder"]["elapsed"] == "0:12"
    assert [stream["stopped"] for stream in state["recorder"]["streams"]] == [False, True]
    assert [notice["number"] for notice in state["notices"]] == list(range(6, NOTICES + 6))


def test_requests_that_are_not_taken_are_limited_and_a_stop_never_is(view: ConsoleView) -> None:
    opened(view, 1)
    for _ in range(MAX_WAITING):
        assert view.request(1, "undo", 0.0) == ""
    assert view.request(1, "undo", 0.0) == "too many requests wait; the recorder is busy"
    for _ in range(100):
        assert view.request(1, STOP, 0.0) == ""
    assert view.take_requests() == ["undo"] * MAX_WAITING + [STOP]
