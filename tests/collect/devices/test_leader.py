"""A leader arm with emulated servos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from waldo.collect.devices.device import Observation
from waldo.collect.devices.leader import LeaderArm
from waldo.errors import HardwareError
from waldo.robots.description import load_robot
from waldo.sim.emulation.emulated_leader import Hand
from waldo.sim.emulation.feetech import FeetechServos

SO101 = load_robot("so101")


def test_the_robot_follows_a_close_leader_and_not_a_distant_one() -> None:
    messages: list[str] = []
    with FeetechServos(Hand(load_robot("so101_leader"), lambda _: SO101.home)) as servos:
        device = LeaderArm(SO101, load_robot("so101_leader"), port=servos.port, response_timeout_s=1.0)
        device.tell = messages.append
        device.open()
        session: Any = None

        def step(position: np.ndarray) -> Any:
            return device.step(Observation(stamp_ns=0, position=position, environment={}), session, 0.01)

        assert step(SO101.home + 0.5) is None
        assert step(SO101.home + 0.5) is None
        found = step(SO101.home + 0.1)
        np.testing.assert_allclose(found, SO101.home, atol=2e-3)
        # A lagging robot keeps following, one that was pushed away does not.
        assert step(SO101.home + 0.8) is not None
        assert step(SO101.home + 1.2) is None
        assert step(SO101.home + 0.8) is None
        # A message is repeated only when it changes; which joint is farthest may change by a count.
        assert messages[0].endswith("0.50 rad from the robot's: lead it nearer")
        assert messages.count("following") == 1
        assert messages[-1].endswith("rad from the robot's: lead it nearer")
        servos.unplug()
        with pytest.raises(HardwareError, match="was disconnected"):
            step(SO101.home)
        device.close()
        assert not any(servo.memory[40] for servo in servos.servos)
