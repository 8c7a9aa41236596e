"""The motors of emulated joints warm up by the copper loss of their currents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from waldo.errors import InvalidValueError
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


ARM = """
<mujoco><compiler angle="radian"/><worldbody><body><joint name="hip" axis="0 1 0" damping=".1" armature=".01"/>
  <geom size=".05" mass=".2" pos=".1 0 0"/>
  <body><joint name="knee" axis="0 1 0"/><geom size=".05" mass=".2" pos=".1 0 0"/></body></body></worldbody>
  <tendon><fixed name="both"><joint joint="hip" coef="1"/><joint joint="knee" coef="1"/></fixed></tendon>
  <actuator>{}</actuator></mujoco>"""


def test_the_motors_of_a_model_are_emulated(tmp_path: Path) -> None:
    path = tmp_path / "arm.xml"
    path.write_text(ARM.format('<motor name="m" gear="20" ctrlrange="-1 1" joint="hip"/>'))
    joints = EmulatedJoints(load_robot(str(path)))
    for _ in range(20):
        joints.command(np.array([0.4]), np.zeros(1), joints.stiffness, joints.damping, np.zeros(1))
        joints.advance(0.1)
    assert joints.position[0] == pytest.approx(0.4, abs=0.01)


def test_the_length_of_a_tendon_is_not_the_position_of_a_motor(tmp_path: Path) -> None:
    path = tmp_path / "arm.xml"
    path.write_text(ARM.format('<position tendon="both"/>'))
    with pytest.raises(InvalidValueError) as error:
        EmulatedJoints(load_robot(str(path)))
    assert str(error.value) == f"mjcf is {str(path)!r}, expected a joint and an actuator named 'both'"
