"""Sessions in which the operator sees the robot itself: passthrough in a headset, and a phone in the hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver

from tests.collect.headset.emulated_headset import EmulatedHeadset, emulation
from tests.collect.headset.iwer_recording import Replay, phone_recording
from waldo.collect.devices.tracking import Tracking
from waldo.collect.headset.server import HeadsetServer
from waldo.robots.description import load_robot

PHONE = """
Object.defineProperty(navigator, "userAgent", { get: () => "Mozilla/5.0 (Linux; Android 16) Chrome/140 Mobile" });
Object.defineProperty(navigator, "maxTouchPoints", { get: () => 5 });
"""
"""The browser of a phone; the emulation's is that of a Quest."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeadsetServer]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = HeadsetServer(load_robot("so101"), port=0, audit_log=str(tmp_path / "audit.log"))
    found.open()
    yield found
    found.close()


@pytest.fixture
def opened(browser: webdriver.Chrome, server: HeadsetServer) -> Iterator[Callable[[str], EmulatedHeadset]]:
    """Open the page with a script of the test's; afterwards, no error is allowed."""
    scripts: list[str] = []

    def opened(script: str) -> EmulatedHeadset:
        source = {"source": emulation() + script}
        scripts.append(browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)["identifier"])
        browser.get_log("browser")
        browser.get(server.url)
        return EmulatedHeadset(browser)

    yield opened
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    for identifier in scripts:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identifier})
    browser.get("about:blank")


def enabled(headset: EmulatedHeadset) -> list[str]:
    """Return the buttons that can start a session."""
    return list(headset.run("return [...document.querySelectorAll('.start button:enabled')].map((one) => one.id)"))


def sample(server: HeadsetServer, headset: EmulatedHeadset, wanted: Callable[[Tracking], Any]) -> Tracking:
    """Return the first sample that is wanted."""
    found: list[Tracking] = []
    headset.wait(lambda: (one := server.latest()) is not None and wanted(one) and (found.append(one) or True))
    return found[0]


def test_passthrough_needs_no_images(server: HeadsetServer, opened: Callable[[str], EmulatedHeadset]) -> None:
    """The robot has cameras, whose images the operator of a VR session must see."""
    headset = opened("")
    headset.wait(lambda: enabled(headset) == ["vr", "ar"])
    headset.start("ar")
    assert sample(server, headset, lambda one: len(one.hands) == 2).video_age_s is None
    headset.run("device.activeSession.end()")
    sample(server, headset, lambda one: not one.hands)
    headset.start("vr")
    assert sample(server, headset, lambda one: len(one.hands) == 2).video_age_s == float("inf")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_phone_is_a_hand_that_its_screen_engages(
    server: HeadsetServer, opened: Callable[[str], EmulatedHeadset], side: Any
) -> None:
    headset = opened(PHONE)
    headset.wait(lambda: enabled(headset)[-2:] == ["phone-right", "phone-left"])
    assert "ar" not in enabled(headset)
    headset.start(f"phone-{side}")
    pose, moved = np.eye(4), np.eye(4)
    moved[:3, 3] = 0.1, 0.2, -0.3
    replay = Replay(headset, phone_recording([(pose, 0), (pose, 0), (moved, 1), (moved, 2), (moved, 0)]), "local")

    def hand(one: Tracking) -> Any:
        return one.hands.get(side)

    for expected, place in (((0, 0), pose), ((1, 0), moved), ((1, 1), moved), ((0, 0), moved)):
        replay.next()
        found = sample(
            server,
            headset,
            lambda one, expected=expected, place=place: (
                hand(one)
                and (hand(one).squeeze, hand(one).trigger) == expected
                and np.allclose(hand(one).pose, place, atol=1e-5)
            ),
        )
        assert set(found.hands) == {side}
        assert found.video_age_s is None


def test_the_buttons_over_the_phone_s_camera_stop_the_robot_and_end_the_session(
    server: HeadsetServer, opened: Callable[[str], EmulatedHeadset]
) -> None:
    headset = opened(PHONE)
    headset.start("phone-right")
    assert headset.run("return !document.getElementById('overlay').hidden")
    sample(server, headset, lambda one: "right" in one.hands)
    headset.run("document.getElementById('overlay-stop').click()")
    requests: list[str] = []
    headset.wait(lambda: requests.extend(server.take_requests()) or requests)
    assert requests == ["stop_motion"]
    headset.run("document.getElementById('overlay-end').click()")
    sample(server, headset, lambda one: not one.hands)
    assert headset.run("return document.getElementById('overlay').hidden")


def test_a_touch_of_a_button_does_not_move_the_robot(
    server: HeadsetServer, opened: Callable[[str], EmulatedHeadset]
) -> None:
    """WebXR asks the page whether a touch of the overlay is also one of the scene."""
    headset = opened(PHONE)
    headset.start("phone-right")
    asked = """
        const event = new Event("beforexrselect", { bubbles: true, cancelable: true });
        document.getElementById(arguments[0]).dispatchEvent(event);
        return event.defaultPrevented;
    """
    assert headset.run(asked, "overlay-stop")
    assert not headset.run(asked, "overlay")
