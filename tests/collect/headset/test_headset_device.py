"""From an emulated headset to the joint targets of a G1 with Dex3-1 hands: page, server, device, retargeting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver

from tests.collect.headset.emulated_headset import EmulatedHeadset, emulation
from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.headset import Headset
from waldo.collect.headset.server import HeadsetServer
from waldo.robots.description import Robot, load_robot

DT_S = 1 / 60

FOLD = """
// A hand that keeps the fingers folded which are the dead-man switch, in every pose of the emulation.
for (const side of ["left", "right"]) {
  const hand = device.hands[side];
  const own = Object.getOwnPropertySymbols(hand).map((one) => hand[one]).find((one) => one?.poses);
  const { point, pinch } = own.poses;
  for (const name of Object.keys(point.jointTransforms)) {
    if (/^(middle|ring|pinky)/.test(name)) pinch.jointTransforms[name] = point.jointTransforms[name];
  }
}
"""


class Rig:
    """A robot that reaches its targets at once, driven by the headset of an open page."""

    def __init__(self, robot: Robot, device: Headset) -> None:
        self.robot, self.device, self.session = robot, device, RecordingSession()
        self.position = robot.home.copy()

    @property
    def server(self) -> HeadsetServer:
        source = self.device._source
        assert isinstance(source, HeadsetServer)
        return source

    def step(self) -> np.ndarray | None:
        """Run one cycle."""
        observation = Observation(stamp_ns=0, position=self.position.copy(), environment={})
        command = self.device.step(observation, self.session, DT_S)
        if command is not None:
            self.position = command.copy()
        return command


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    robot = load_robot("g1_dex3")
    # A busy machine may be late: ages are tested without a browser.
    device = Headset(robot, port=0, needs_video=False, max_age_s=60.0, drop_after_s=60.0)
    device.open()
    yield Rig(robot, device)
    device.close()


@pytest.fixture
def headset(browser: webdriver.Chrome, rig: Rig) -> Iterator[EmulatedHeadset]:
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emulation()})
    browser.get(rig.server.url)
    found = EmulatedHeadset(browser)
    found.start()
    found.head((0, 1.6, 0))
    yield found
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script["identifier"]})
    browser.get("about:blank")


def arms(robot: Robot, side: str) -> list[int]:
    names = [f"{side}_{part}" for part in ("shoulder", "elbow", "wrist")]
    return [index for index, name in enumerate(robot.joint_names) if name.startswith(tuple(names))]


def fingers(robot: Robot, side: str) -> list[int]:
    return [index for index, name in enumerate(robot.joint_names) if name.startswith(f"{side}_hand")]


def test_arms_follow_the_controllers_and_stop_with_the_session(headset: EmulatedHeadset, rig: Rig) -> None:
    for side, x in (("left", -0.25), ("right", 0.25)):
        headset.controller(side, (x, 1.1, -0.35))
    headset.wait(lambda: rig.step() is None and len(getattr(rig.server.latest(), "hands", ())) == 2)
    before = rig.position.copy()
    headset.button("right", "squeeze", 1)
    headset.wait(lambda: rig.step() is not None)
    for part in np.linspace(0.1, 1.0, 10):  # a pose that jumps would stop the arm
        headset.controller("right", (0.25, 1.1 + 0.06 * part, -0.35 - 0.07 * part))
        number = rig.server.latest().number  # type: ignore[union-attr]
        headset.wait(lambda: rig.step() is not None and rig.server.latest().number > number)  # type: ignore[union-attr]  # noqa: B023
    right, left = arms(rig.robot, "right"), arms(rig.robot, "left")
    assert right
    headset.wait(lambda: rig.step() is not None and np.abs(rig.position[right] - before[right]).max() > 0.05)
    # The left hand is not squeezed: its arm stays.
    np.testing.assert_allclose(rig.position[left], before[left], atol=1e-9)
    assert np.isfinite(rig.position).all()
    # The trigger closes the hand.
    opened = rig.position[fingers(rig.robot, "right")].copy()
    headset.button("right", "trigger", 1)
    headset.wait(
        lambda: rig.step() is not None and np.abs(rig.position[fingers(rig.robot, "right")] - opened).max() > 0.3
    )
    # Once the server has seen the end, the next cycle commands nothing.
    headset.run("device.activeSession.end()")
    headset.wait(lambda: not rig.server.latest().hands)  # type: ignore[union-attr]
    assert rig.step() is None
    assert "the right hand is not tracked" in rig.session.texts[-1]


def test_a_pinch_closes_the_hand_of_the_robot(headset: EmulatedHeadset, rig: Rig) -> None:
    headset.run(FOLD)
    headset.run("device.primaryInputMode = 'hand'; device.hands.right.position.set(0.25, 1.1, -0.35)")
    headset.run("device.hands.right.poseId = 'default'; device.hands.left.poseId = 'default'")
    headset.wait(lambda: rig.step() is None and len(getattr(rig.server.latest(), "hands", ())) == 2)
    headset.run("device.hands.right.poseId = 'point'")
    headset.wait(lambda: rig.step() is not None)
    joints = fingers(rig.robot, "right")
    for _ in range(60):
        rig.step()
    opened = rig.position[joints].copy()
    headset.run("device.hands.right.updatePinchValue(1)")
    headset.wait(lambda: rig.step() is not None and np.abs(rig.position[joints] - opened).max() > 0.2)
    headset.connect("right", False)
    headset.wait(lambda: "right" not in rig.server.latest().hands)  # type: ignore[union-attr]
    assert rig.step() is None


def test_a_stop_on_the_page_lets_go(headset: EmulatedHeadset, rig: Rig) -> None:
    headset.wait(lambda: rig.step() is None and len(getattr(rig.server.latest(), "hands", ())) == 2)
    headset.button("right", "squeeze", 1)
    headset.wait(lambda: rig.step() is not None)
    headset.run("document.getElementById('stop').click()")
    headset.wait(lambda: rig.step() is None and "stop_motion" in rig.session.services)
    # The squeeze that is still held engages nothing.
    number = rig.server.latest().number  # type: ignore[union-attr]
    headset.wait(lambda: rig.step() is None and rig.server.latest().number > number + 20)  # type: ignore[union-attr]
    assert rig.step() is None
