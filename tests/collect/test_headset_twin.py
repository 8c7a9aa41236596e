"""A headset, the control cycle with its safety chain, and a simulated G1: its hand follows the operator's."""

from __future__ import annotations

import numpy as np
import pytest
from human_hand import tracked_hand
from tracking_source import TestedSource

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.headset import Headset
from waldo.collect.retargeting.retargeter import Retargeter, RetargetOptions
from waldo.robots.control.cycle import ControlCycle
from waldo.robots.description import load_robot
from waldo.sim.twin import TwinDriver, stamp_of

DT_S = 1 / 60
CORNERS_M = 0.1 * np.array([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)])
"""Corners of the square from where the operator engages [m]: away from the other hand, and up.

Between the hands is the scene's box, which is in the way.
"""

SIDE_S = 2.0
"""Time for one side of the square [s]."""


class Teleoperation:
    """A bare hand that controls a simulated G1 with Dex3-1 hands, cycle by cycle."""

    def __init__(self, side: str) -> None:
        self.side, self.outwards = side, np.array([-1 if side == "left" else 1, 1])
        self.robot = load_robot("g1_dex3")
        self.driver = TwinDriver(self.robot, "carry_dex3", cameras=False, seed=1)
        self.driver.connect()
        self.cycle = ControlCycle(self.driver, simulated_time=True)
        self.source, self.session = TestedSource(bare=True), RecordingSession()
        self.device = Headset(self.robot, source=self.source, clock_ns=self.source.clock_ns)
        self.model = Retargeter(self.robot, RetargetOptions(self_collision=False))
        self.applied: np.ndarray | None = None
        self.tick = 0

    def step(self, offset: np.ndarray, folded: float) -> np.ndarray | None:
        """Run a cycle with the hand at an offset (2,), outwards and up [m]; return the device's command."""
        now_ns, monotonic_s = stamp_of(self.tick), self.tick * DT_S
        pose = np.eye(4)
        offset = self.outwards * (offset + np.array([0.2, 0]))  # in WebXR, x is to the right
        pose[:3, 3] = offset[0], 1.1 + offset[1], -0.5
        hand = tracked_hand(self.side, pose=pose, curl={"ring": folded, "pinky": folded})
        self.source.hand(self.side, pose=hand.pose, joints=hand.joints)
        self.source.now_ns += int(DT_S * 1e9)
        self.source.change(stamp_ns=self.source.now_ns)
        self.cycle.sense(now_ns, monotonic_s)
        observation = Observation(
            stamp_ns=now_ns, position=self.driver.read().position, environment={}, applied=self.applied
        )
        command = self.device.step(observation, self.session, DT_S)
        names, positions = ([], []) if command is None else (self.robot.joint_names, command.tolist())
        self.cycle.command(names, positions, now_ns, now_ns)
        self.applied = self.cycle.act(now_ns, monotonic_s).applied
        self.driver.advance()
        self.tick += 1
        return command

    def hand_position(self) -> np.ndarray:
        """Return the position of the palm at the measured joints, shape (3,) [m]."""
        measured = self.driver.read().position
        self.model.reset(measured, measured)
        return self.model.pose(self.side)[:3, 3]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_follows_a_square_through_the_safety_chain(side: str) -> None:
    teleoperation = Teleoperation(side)
    for _ in range(60):
        assert teleoperation.step(np.zeros(2), 0.0) is None
    start, errors = teleoperation.hand_position(), []
    for tick in range(int(4 * SIDE_S / DT_S)):
        number, part = divmod(tick * DT_S / SIDE_S, 1)
        offset = CORNERS_M[int(number)] * (1 - part) + CORNERS_M[int(number) + 1] * part
        assert teleoperation.step(offset, 1.0) is not None
        # In the robot's frame, y is to the left.
        wanted = start + np.array([0, -teleoperation.outwards[0] * offset[0], offset[1]])
        errors.append(teleoperation.hand_position() - wanted)
    rms_m = float(np.sqrt(np.square(errors).sum(axis=1).mean()))
    assert rms_m < 0.005  # 2.6 and 2.5 mm as measured
    assert np.abs(errors[0]).max() < 0.003  # engaging moves nothing
    held = teleoperation.hand_position()
    for _ in range(30):
        assert teleoperation.step(np.zeros(2), 0.0) is None
    assert np.linalg.norm(teleoperation.hand_position() - held) < 0.01
    teleoperation.driver.disconnect()
