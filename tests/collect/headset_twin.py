"""A headset, the control cycle with its safety chain, and a simulated G1 with Dex3-1 hands, in simulated time."""

from __future__ import annotations

import numpy as np
from tracking_source import TestedSource

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.headset import Headset
from waldo.collect.devices.tracking import Side
from waldo.collect.retargeting.retargeter import Retargeter, RetargetOptions
from waldo.robots.control.cycle import ControlCycle
from waldo.robots.description import load_robot
from waldo.sim.twin import TwinDriver, stamp_of

DT_S = 1 / 60
"""Duration of a control cycle [s]."""
CORNERS_M = 0.1 * np.array([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)])
"""Corners of the square from where the operator engages [m]: away from the other hand, and up.

Between the hands is the scene's box, which is in the way.
"""
SIDE_S = 2.0
"""Time for one side of the square [s]."""
SQUARE_S = 4 * SIDE_S
"""Time for the square [s]."""


def square(seconds: float) -> np.ndarray:
    """Return the offset on the square at a time since its start, shape (2,), outwards and up [m]."""
    number, part = divmod(min(seconds, SQUARE_S) / SIDE_S, 1)
    corners = CORNERS_M[min(int(number), 4)], CORNERS_M[min(int(number) + 1, 4)]
    return corners[0] * (1 - part) + corners[1] * part


class HeadsetTwin:
    """Hands that control the simulated robot, cycle by cycle; a test sets the sample of `source` before each one."""

    def __init__(self, side: Side) -> None:
        """Initialize; `side` is that of the hand whose position is looked at."""
        self.side: Side = side
        self.outwards = np.array([-1 if side == "left" else 1, 1])
        """From (outwards, up) to WebXR's x and y."""
        self.robot = load_robot("g1_dex3")
        self.driver = TwinDriver(self.robot, "carry_dex3", cameras=False, seed=1)
        self.driver.connect()
        self.cycle = ControlCycle(self.driver, simulated_time=True)
        self.source, self.session = TestedSource(bare=True), RecordingSession()
        self.device = Headset(self.robot, source=self.source, clock_ns=self.source.clock_ns)
        self.model = Retargeter(self.robot, RetargetOptions(self_collision=False))
        self.applied: np.ndarray | None = None
        self.tick = 0

    def wrist(self, offset: np.ndarray) -> np.ndarray:
        """Return the pose (4, 4) of the wrist in WebXR's frame at an offset (2,), outwards and up [m]."""
        pose = np.eye(4)
        x, y = self.outwards * (offset + np.array([0.2, 1.1]))
        pose[:3, 3] = x, y, -0.5
        return pose

    def step(self) -> np.ndarray | None:
        """Run a cycle; return the device's command."""
        now_ns, monotonic_s = stamp_of(self.tick), self.tick * DT_S
        self.cycle.sense(now_ns, monotonic_s)
        observation = Observation(
            stamp_ns=now_ns, position=self.driver.read().position, environment={}, applied=self.applied
        )
        command = self.device.step(observation, self.session, DT_S)
        names, positions = ([], []) if command is None else (self.robot.joint_names, command.tolist())
        self.cycle.command(names, positions, now_ns, now_ns)
        self.applied = self.cycle.act(now_ns, monotonic_s).applied
        self.driver.advance()
        self.source.now_ns += int(DT_S * 1e9)
        self.tick += 1
        return command

    @property
    def position(self) -> np.ndarray:
        """The measured positions of the joints, shape (joints,) [rad]."""
        return self.driver.read().position

    def hand_position(self) -> np.ndarray:
        """Return the position of the palm at the measured joints, shape (3,) [m]."""
        self.model.reset(self.position, self.position)
        return self.model.pose(self.side)[:3, 3]

    def moved(self, start: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return where the palm should be at an offset of the operator's hand, shape (3,) [m]."""
        # In the robot's frame, y is to the left.
        return start + np.array([0, -self.outwards[0] * offset[0], offset[1]])
