"""The motors of emulated joints warm up by the copper loss of their currents."""

from __future__ import annotations

import numpy as np

from waldo.robots.description import load_robot
from waldo.robots.thermal.two_node import Load
from waldo.sim.emulation.emulated_joints import EmulatedJoints


def test_holding_against_gravity_warms_the_motors_as_their_model_predicts() -> None:
    joints = EmulatedJoints(load_robot("so101"))
    zero = np.zeros(6)
    joints.command(joints.position, zero, joints.stiffness, joints.damping, zero)
    for _ in range(20):
        joints.advance(0.1)
    start, current = joints.heat, joints.current
    for _ in range(100):
        joints.advance(0.1)
    load = Load(np.square(current) * joints.resistance, zero)
    expected = joints.thermal.step(start, load, 25.0, 10.0)
    assert np.ptp(expected[:, 0] - start[:, 0]) > 0.2
    np.testing.assert_allclose(joints.heat, expected, atol=0.05)
