"""A session of an emulated headset, recorded and replayed in its page, drives a simulated G1 with Dex3-1 hands.

Each frame goes through the page, its connection, the server and the device into the robot's control cycle. The cycles
are in simulated time and wait for the frame, so that the result does not depend on the load of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from human_hand import tracked_hand
from selenium import webdriver

from tests.collect.headset.emulated_headset import EmulatedHeadset, emulation
from tests.collect.headset.iwer_recording import RATE_HZ, Replay, recording
from tests.collect.headset_twin import DT_S, SQUARE_S, HeadsetTwin, square
from waldo.collect.devices.tracking import Side, TrackedHand, Tracking
from waldo.collect.headset.server import HeadsetServer
from waldo.robots.description import load_robot

CYCLES = round(1 / DT_S / RATE_HZ)
"""Control cycles for each frame of the headset."""
HURRY = 2.0
"""How much faster the square is traced: at 10 cm/s."""
TIPS = ("right_hand_thumb_2_joint", "right_hand_index_0_joint", "right_hand_index_1_joint")
"""Joints that a pinch moves."""
FOLDED = {"ring": 1.0, "pinky": 1.0}
"""Curl of the fingers that are the dead-man switch of a bare hand."""

type Hands = Mapping[Side, TrackedHand]


class Session:
    """Frames that the page replays one by one, and the robot that follows them."""

    def __init__(self, browser: webdriver.Chrome, server: HeadsetServer, side: Side) -> None:
        """Start a session of the page."""
        self.headset, self.server = EmulatedHeadset(browser), server
        self.twin = HeadsetTwin(side)
        self.frames: list[Hands] = []

    def still(self, seconds: float, hand: TrackedHand | None) -> None:
        """Record a hand that stands still; None while it is not tracked."""
        self.frames += round(seconds * RATE_HZ) * [{} if hand is None else {hand.side: hand}]

    def replay(self, look: Callable[[int, np.ndarray | None], None]) -> None:
        """Replay what was recorded; `look` is called with each frame's number and the command that follows it."""
        source = self.twin.source
        assert source.sample is not None
        replay = Replay(self.headset, recording(self.frames, source.sample.head))
        for number, hands in enumerate(self.frames):
            if number:
                replay.next()
            sample = self._arrived(hands)
            source.sample = replace(sample, stamp_ns=source.now_ns, video_age_s=None)
            commands = [self.twin.step() for _ in range(CYCLES)]
            assert len({command is None for command in commands}) == 1, number
            look(number, commands[-1])

    def _arrived(self, hands: Hands) -> Tracking:
        """Return the sample of a frame."""
        deadline = time.monotonic() + 60
        while (sample := self.server.latest()) is None or not _equal(sample.hands, hands):
            assert time.monotonic() < deadline, f"the frame did not arrive; the last one is {sample}"
            time.sleep(0.001)
        return sample


def _equal(one: Hands, other: Hands) -> bool:
    """Return whether two frames have the same hands."""
    joints = [(one[side].joints, other[side].joints) for side in one if side in other]
    same = all(a is not None and b is not None and np.allclose(a, b, atol=1e-5) for a, b in joints)
    return set(one) == set(other) and same


@pytest.fixture
def start(
    browser: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Side], Session]]:
    """Start a session of a headset's page."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    server = HeadsetServer(load_robot("g1_dex3"), port=0, audit_log=str(tmp_path / "audit.log"))
    server.open()
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emulation()})
    browser.get(server.url)
    found: list[Session] = []

    def start(side: Side) -> Session:
        found.append(Session(browser, server, side))
        found[-1].headset.start()
        return found[-1]

    yield start
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script["identifier"]})
    browser.get("about:blank")
    server.close()
    for one in found:
        one.twin.driver.disconnect()


def test_a_hand_traces_a_square_pinches_and_is_lost(start: Callable[[Side], Session]) -> None:
    session = start("right")
    twin, home = session.twin, session.twin.wrist(np.zeros(2))
    session.still(0.2, tracked_hand("right", pose=home))
    engaged = len(session.frames)
    for k in range(round(SQUARE_S / HURRY * RATE_HZ)):
        pose = twin.wrist(square(HURRY * k / RATE_HZ))
        session.frames.append({"right": tracked_hand("right", pose=pose, curl=FOLDED)})
    opened = len(session.frames)
    session.still(0.7, tracked_hand("right", pose=home, curl=FOLDED, pinch=1.0))
    pinched = len(session.frames)
    session.still(0.7, tracked_hand("right", pose=home, curl=FOLDED))
    lost = len(session.frames)
    session.still(0.2, None)

    positions, errors = list[np.ndarray](), list[np.ndarray]()
    start_m = np.zeros(3)

    def look(number: int, command: np.ndarray | None) -> None:
        nonlocal start_m
        # Engaged in the frame of the first folded hand, and stopped in the one without a hand.
        assert (command is not None) == (engaged <= number < lost), number
        positions.append(twin.position)
        if number < engaged:
            start_m = twin.hand_position()
        elif number < opened:
            offset = square(HURRY * (number - engaged) / RATE_HZ)
            errors.append(twin.hand_position() - twin.moved(start_m, offset))

    session.replay(look)
    distances_m = np.linalg.norm(errors, axis=1)
    assert np.sqrt(np.square(distances_m).mean()) < 0.01  # 4.1 mm as measured
    assert distances_m.max() < 0.02  # 6.2 mm
    tips = [k for k, name in enumerate(twin.robot.joint_names) if name in TIPS]
    assert len(tips) == len(TIPS)
    closed, reopened = (np.abs(positions[end - 1] - positions[opened - 1])[tips] for end in (pinched, lost))
    assert closed.min() > 0.4
    assert reopened.max() < 0.2
    assert np.abs(positions[-1] - positions[lost - 1]).max() < 0.02


def test_a_mirrored_hand_moves_nothing(start: Callable[[Side], Session]) -> None:
    """A left hand that a headset reports as the right one."""
    session = start("right")
    home = session.twin.wrist(np.zeros(2))
    for curl in (0.0, FOLDED):
        left = tracked_hand("left", pose=home, curl=curl)
        session.still(0.4, replace(left, side="right"))
    commands: list[np.ndarray | None] = []
    session.replay(lambda _, command: commands.append(command))
    assert all(command is None for command in commands)
    assert any("mirrored" in text for text in session.twin.source.texts + session.twin.session.texts)
