"""The headset's page with an emulated Quest: its poses arrive as samples, and every loss is noticed at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium import webdriver

from tests.collect.headset.emulated_headset import EmulatedHeadset, emulation
from waldo.collect.devices.tracking import JOINT_NAMES, TrackedHand, Tracking
from waldo.collect.headset.server import HeadsetServer
from waldo.collect.robot_condition import RobotCondition
from waldo.robots.description import load_robot
from waldo.robots.diagnostics import OK, WARN

QUARTER = float(np.sqrt(0.5))


def matrix(position: tuple[float, ...], quaternion: tuple[float, ...] = (0, 0, 0, 1)) -> np.ndarray:
    """Return a pose (4, 4) of a position and a quaternion (x, y, z, w)."""
    x, y, z, w = quaternion
    pose = np.eye(4)
    pose[:3, 0] = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    pose[:3, 1] = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    pose[:3, 2] = [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]
    pose[:3, 3] = position
    return pose


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeadsetServer]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = HeadsetServer(load_robot("so101"), port=0, audit_log=str(tmp_path / "audit.log"))
    found.open()
    found.condition(RobotCondition(word="FOLLOWING", level=OK))
    yield found
    found.close()


@pytest.fixture
def headset(browser: webdriver.Chrome, server: HeadsetServer) -> Iterator[EmulatedHeadset]:
    """A page with an emulated headset; afterwards, no error is allowed."""
    browser.get_log("browser")
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emulation()})
    browser.get(server.url)
    yield EmulatedHeadset(browser)
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script["identifier"]})
    browser.get("about:blank")


def sample(server: HeadsetServer, headset: EmulatedHeadset, wanted) -> Tracking:
    """Return the first sample that is wanted."""
    found: list[Tracking] = []

    def arrived() -> bool:
        tracking = server.latest()
        if tracking is None or not wanted(tracking):
            return False
        found.append(tracking)
        return True

    headset.wait(arrived)
    return found[0]


def is_near(pose: np.ndarray, place: tuple[float, ...], distance_m: float = 0.1) -> bool:
    """Return whether a pose is near a place: a grip is some centimeters from the controller's origin."""
    return bool(np.linalg.norm(pose[:3, 3] - place) < distance_m)


def hand(tracking: Tracking, side: str) -> TrackedHand:
    return tracking.hands[side]


def test_controllers_arrive_with_position_rotation_and_buttons(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    turn = (0, QUARTER, 0, QUARTER)  # a quarter to the left, about the vertical
    headset.head((0.1, 1.7, 0.2), turn)
    headset.controller("left", (-0.3, 1.2, -0.4))
    headset.controller("right", (0.25, 1.1, -0.5), (QUARTER, 0, 0, QUARTER))
    headset.button("right", "trigger", 0.75)
    headset.button("left", "squeeze", 0.5)
    headset.button("right", "a-button", 1)
    tracking = sample(
        server,
        headset,
        lambda one: (
            len(one.hands) == 2
            and hand(one, "right").trigger > 0
            and hand(one, "right").buttons[4]
            and hand(one, "left").squeeze > 0
            and is_near(one.head, (0.1, 1.7, 0.2))
            and is_near(hand(one, "right").pose, (0.25, 1.1, -0.5))
        ),
    )
    np.testing.assert_allclose(tracking.head, matrix((0.1, 1.7, 0.2), turn), atol=1e-6)
    # The emulation's own poses of the grips, and that they are where the controllers were moved.
    for side, place in (("left", (-0.3, 1.2, -0.4)), ("right", (0.25, 1.1, -0.5))):
        np.testing.assert_allclose(hand(tracking, side).pose, headset.pose(f"{side} grip"), atol=1e-6)
        assert np.linalg.norm(hand(tracking, side).pose[:3, 3] - place) < 0.1
    rotation = hand(tracking, "right").pose[:3, :3] @ hand(tracking, "left").pose[:3, :3].T
    assert np.linalg.norm(rotation - np.eye(3)) > 1
    assert (hand(tracking, "right").trigger, hand(tracking, "left").squeeze) == (0.75, 0.5)
    assert hand(tracking, "right").buttons[4]
    assert not any(hand(tracking, "left").buttons[4:])
    assert all(one.tracked and one.joints is None for one in tracking.hands.values())
    assert 0 <= time.time_ns() - tracking.stamp_ns < 60e9


def test_a_moved_controller_moves_by_the_same_amount(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    headset.controller("right", (0.2, 1.0, -0.3))
    before = sample(
        server, headset, lambda one: len(one.hands) == 2 and is_near(hand(one, "right").pose, (0.2, 1.0, -0.3))
    )
    headset.controller("right", (0.25, 1.2, -0.4))
    after = sample(server, headset, lambda one: is_near(hand(one, "right").pose, (0.25, 1.2, -0.4)))
    np.testing.assert_allclose(
        after.hands["right"].pose[:3, 3] - before.hands["right"].pose[:3, 3], [0.05, 0.2, -0.1], atol=1e-6
    )
    assert after.number > before.number


def test_bare_hands_arrive_with_joints_and_a_pinch(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    headset.run("device.primaryInputMode = 'hand'")
    headset.run("device.hands.right.position.set(0.2, 1.2, -0.4)")
    tip, thumb = JOINT_NAMES.index("index-finger-tip"), JOINT_NAMES.index("thumb-tip")

    def gap(tracking: Tracking) -> float:
        joints = tracking.hands["right"].joints
        assert joints is not None
        return float(np.linalg.norm(joints[tip] - joints[thumb]))

    def has_joints(one: Tracking) -> bool:
        return len(one.hands) == 2 and all(found.joints is not None for found in one.hands.values())

    open_hand = sample(
        server, headset, lambda one: has_joints(one) and is_near(hand(one, "right").pose, (0.2, 1.2, -0.4), 0.2)
    )
    right = hand(open_hand, "right")
    assert right.joints is not None
    assert right.joints.shape == (25, 3)
    np.testing.assert_allclose(right.pose[:3, 3], right.joints[0], atol=1e-6)
    headset.run("device.hands.right.updatePinchValue(1)")
    pinched = sample(server, headset, lambda one: has_joints(one) and gap(one) < 0.02)
    assert gap(open_hand) > 2 * gap(pinched)


def test_a_controller_that_is_not_tracked_is_missing(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.connect("left", False)
    assert set(sample(server, headset, lambda one: len(one.hands) == 1).hands) == {"right"}
    headset.connect("left", True)
    sample(server, headset, lambda one: len(one.hands) == 2)


def test_an_estimated_pose_is_not_tracked(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2 and hand(one, "left").tracked)
    headset.run("window.estimated = true")
    sample(server, headset, lambda one: len(one.hands) == 2 and not hand(one, "left").tracked)


def test_a_blurred_session_has_no_hands(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.run("device.updateVisibilityState('visible-blurred')")
    sample(server, headset, lambda one: not one.hands)
    headset.run("device.updateVisibilityState('visible')")
    sample(server, headset, lambda one: len(one.hands) == 2)


def test_a_session_that_ends_has_no_hands(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.run("device.activeSession.end()")
    sample(server, headset, lambda one: not one.hands)
    assert not server.station.is_operated()


def test_a_hidden_page_has_no_hands(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.run(
        "Object.defineProperty(document, 'hidden', {get: () => true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    sample(server, headset, lambda one: not one.hands)


FREEZE = "XRSession.prototype.requestAnimationFrame = () => 0;"
"""The page receives no frames any more, as when the headset shows something else: no message corrects the last one."""


@pytest.mark.parametrize(
    "event",
    [
        "device.updateVisibilityState('visible-blurred')",
        "device.activeSession.end()",
        "Object.defineProperty(document, 'hidden', {get: () => true});"
        "document.dispatchEvent(new Event('visibilitychange'))",
    ],
    ids=["blurred", "ended", "hidden"],
)
def test_an_event_is_enough_when_no_frame_follows(server: HeadsetServer, headset: EmulatedHeadset, event: str) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.run(FREEZE)
    time.sleep(0.2)
    assert len(server.latest().hands) == 2  # type: ignore[union-attr]
    headset.run(event)
    sample(server, headset, lambda one: not one.hands)


def test_a_closed_page_has_no_hands(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.browser.get("about:blank")
    sample(server, headset, lambda one: not one.hands)


def test_a_recorded_session_is_replayed(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    """A recording in the emulation's format: the right hand moves by a line, and its trigger is pulled at the end."""
    schema = [
        [
            0,
            {
                "handedness": "right",
                "targetRayMode": "tracked-pointer",
                "profiles": ["meta-quest-touch-plus"],
                "hasGrip": True,
                "hasHand": False,
                "hasGamepad": True,
                "mapping": "xr-standard",
                "numButtons": 6,
                "numAxes": 4,
            },
        ]
    ]
    frames = []
    for step in range(11):
        place = [0.2, 1.0 + 0.02 * step, -0.3, 0, 0, 0, 1]
        trigger = [1, 1, 0.8] if step == 10 else [0, 0, 0]
        buttons = [trigger, *[[0, 0, 0]] * 5]
        frames.append([100 * step, 0, 1.6, 0, 0, 0, 0, 1, [0, *place, place, [*buttons, 0, 0, 0, 0]]])
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    script = """
        const [recording, done] = [arguments[0], arguments[1]];
        const device = window.device;
        device.activeSession.requestReferenceSpace("local-floor").then((floor) => {
          window.player = device.createActionPlayer(floor, recording, { loop: true });
          window.player.play();
          done(window.player.playing);
        });
    """
    assert headset.browser.execute_async_script(script, {"schema": schema, "frames": frames})
    start = sample(server, headset, lambda one: set(one.hands) == {"right"} and one.hands["right"].pose[1, 3] < 1.1)
    end = sample(server, headset, lambda one: set(one.hands) == {"right"} and one.hands["right"].pose[1, 3] > 1.15)
    assert start.hands["right"].pose[1, 3] < end.hands["right"].pose[1, 3]
    for one in (start, end):
        np.testing.assert_allclose(one.hands["right"].pose[[0, 2], 3], [0.2, -0.3], atol=1e-3)
    sample(server, headset, lambda one: set(one.hands) == {"right"} and one.hands["right"].trigger > 0)


def test_images_are_drawn_and_age(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    before = sample(server, headset, lambda one: len(one.hands) == 2)
    # The so101 has cameras, and the operator has seen no image: that is infinitely old.
    assert before.video_age_s == float("inf")
    image = cv2.imencode(".jpg", np.full((48, 64, 3), (20, 40, 220), np.uint8))[1].tobytes()

    def shown(one: Tracking) -> bool:
        for camera in ("front", "wrist"):
            server.image(f"cameras/{camera}", image, time.time_ns())
        return one.video_age_s is not None and one.video_age_s < 5

    sample(server, headset, shown)
    sample(server, headset, lambda one: one.video_age_s is not None and one.video_age_s > 0.5)
    server.image("depth/front", np.zeros((4, 4), np.uint16), 0)
    assert "depth/front" not in server.station.video.ages_s(0)


def test_vibrations_reach_the_controller(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    headset.run(
        "window.pulses = [];"
        "const source = [...device.activeSession.inputSources].find((one) => one.handedness === 'right');"
        "source.gamepad.hapticActuators[0].pulse = (...values) => window.pulses.push(values)"
    )
    server.haptics("left", 0.1, 0.01)
    server.haptics("right", 0.5, 0.08)
    headset.wait(lambda: headset.run("return window.pulses.length"))
    assert [0.5, 80] in headset.run("return window.pulses")


def test_the_page_shows_condition_and_notices_and_stops(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    def text(identity: str) -> str:
        return str(headset.run("return document.getElementById(arguments[0]).innerText", identity))

    headset.wait(lambda: text("word") == "FOLLOWING")
    server.notify("the right hand is not tracked: the robot holds; release and squeeze again", WARN)
    headset.wait(lambda: "the right hand is not tracked" in text("notices"))
    headset.run("document.getElementById('stop').click()")
    requests: list[str] = []
    headset.wait(lambda: requests.extend(server.take_requests()) or requests)
    assert requests == ["stop_motion"]


def test_a_second_page_watches(server: HeadsetServer, headset: EmulatedHeadset) -> None:
    headset.start()
    sample(server, headset, lambda one: len(one.hands) == 2)
    first = headset.browser.current_window_handle
    headset.browser.switch_to.new_window("tab")
    try:
        headset.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emulation()})
        headset.browser.get(server.url)
        headset.wait(
            lambda: (
                headset.run("return document.getElementById('role').innerText") == "Another page operates the robot."
            )
        )
        assert headset.run("return document.getElementById('vr').disabled")
    finally:
        headset.browser.close()
        headset.browser.switch_to.window(first)
