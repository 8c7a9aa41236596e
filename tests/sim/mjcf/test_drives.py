"""The laws of the drives: all kinds of actuators, and those that are left out or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.sim.mjcf.mjcf_models import ARM, PANDA_HAND, RADIAN_ARM, ROBOTIQ_2F85, arm, load, settle
from waldo.errors import FileError


def test_a_position_servo_keeps_its_gains_and_limits(tmp_path: Path) -> None:
    drives = arm(
        tmp_path,
        '<position joint="hip" kp="20" kv="2" ctrlrange="-2 .5" forcerange="-3 4"/><position joint="knee" kp="9"/>',
    ).drives
    hip, knee = drives
    assert (hip.stiffness, hip.damping, hip.lower, hip.upper, hip.efforts) == (20.0, 2.0, -1.0, 0.5, (-3.0, 4.0))
    assert (knee.lower, knee.upper, knee.efforts) == (-np.inf, np.inf, (-np.inf, np.inf))


def test_a_range_in_degrees_and_a_control_range_that_is_not_limited(tmp_path: Path) -> None:
    (drive,) = arm(tmp_path, '<position joint="hip" ctrlrange="-9 9" ctrllimited="false"/>', ARM).drives
    assert (drive.lower, drive.upper) == pytest.approx((-np.pi / 180, np.pi / 180))
    assert drive.targets == (-np.inf, np.inf)


def test_a_servo_in_other_units_has_its_affine_map(tmp_path: Path) -> None:
    # force = 2 ctrl + 1 - 10 (3 q) - 0.5 (3 v), torque = 3 force
    (drive,) = arm(
        tmp_path,
        '<general joint="hip" gear="3" gainprm="2" biastype="affine" biasprm="1 -10 -.5" ctrlrange="-5 4" '
        'ctrllimited="true" forcerange="-4 8"/>',
    ).drives
    assert (drive.stiffness, drive.damping) == (90.0, 4.5)
    assert drive.targets == pytest.approx(((2 * -5 + 1) / 30, (2 * 4 + 1) / 30))
    assert drive.efforts == (-12.0, 24.0)


def test_a_negative_gear_reverses_the_limits(tmp_path: Path) -> None:
    (drive,) = arm(tmp_path, '<position joint="hip" gear="-2" kp="5" ctrlrange="-1 2" forcerange="-1 3"/>').drives
    assert (drive.stiffness, drive.targets, drive.efforts) == (20.0, (-1.0, 0.5), (-6.0, 2.0))


@pytest.mark.parametrize(
    ("text", "name", "upper", "stiffness", "effort"),
    [(PANDA_HAND, "finger_joint1", 0.04, 100.0, 100.0), (ROBOTIQ_2F85, "right_driver_joint", 0.8, 100.0, 5.0)],
)
def test_grippers_on_a_tendon_are_one_joint(
    tmp_path: Path, text: str, name: str, upper: float, stiffness: float, effort: float
) -> None:
    loaded = load(tmp_path, text)
    (drive,) = loaded.drives
    assert loaded.names == (name,)
    assert (drive.lower, drive.stiffness, drive.efforts) == (0.0, stiffness, (-effort, effort))
    assert drive.upper == pytest.approx(upper)
    assert drive.targets == pytest.approx((0.0, upper))


def test_a_motor_has_the_effort_of_its_control_range_force_range_and_joint(tmp_path: Path) -> None:
    motors = '<motor joint="hip" gear="10" ctrlrange="-2 3"/><motor joint="knee" gear="10" forcerange="-1 1"/>'
    hip, knee = arm(tmp_path, motors).drives
    assert (hip.is_torque, hip.efforts, knee.efforts) == (True, (-20.0, 30.0), (-10.0, 10.0))
    # The full effort at an error of 0.05 rad.
    assert (hip.stiffness, knee.stiffness) == pytest.approx((30 / 0.05, 10 / 0.05))
    limited = arm(tmp_path, '<motor joint="knee" gear="10"/>', _with_joint_limit())
    assert limited.drives[0].efforts == (-2.0, 2.0)


def _with_joint_limit() -> str:
    return ARM.replace('name="knee"', 'name="knee" actuatorfrcrange="-2 2"')


def test_velocity_actuators_give_the_speed_limit(tmp_path: Path) -> None:
    hip, knee = arm(
        tmp_path,
        '<velocity joint="hip" kv="5" gear="2" ctrlrange="-3 3" forcerange="-4 4"/>'
        '<intvelocity joint="knee" kp="30" ctrlrange="-1 1" actrange="-.7 .7"/>',
    ).drives
    assert (hip.is_torque, hip.velocity, hip.efforts) == (True, 1.5, (-8.0, 8.0))
    assert (knee.is_torque, knee.velocity, knee.targets, knee.stiffness) == (False, 1.0, (-0.7, 0.7), 30.0)


@pytest.mark.parametrize(
    "actuator",
    [
        '<motor joint="hip" gear="10" ctrlrange="-2 2"/>',
        '<motor joint="hip"/>',
        '<velocity joint="hip" kv="5"/>',
        '<intvelocity joint="hip" kp="50" kv="5" actrange="-2 2"/>',
        '<cylinder joint="hip" area="2" timeconst=".1"/>',
        '<position joint="hip" kp="50" kv="2" timeconst=".05"/>',
        '<general joint="hip" gear="3" gainprm="2" biastype="affine" biasprm="1 -10 -1"/>',
    ],
)
def test_every_kind_reaches_its_target(tmp_path: Path, actuator: str) -> None:
    loaded = arm(tmp_path, actuator + '<position joint="knee" kp="50" kv="5"/>')
    np.testing.assert_allclose(settle(loaded, [0.4, -0.3]), [0.4, -0.3], atol=2e-3)


@pytest.mark.parametrize(("text", "target"), [(PANDA_HAND, 0.03), (ROBOTIQ_2F85, 0.5)])
def test_grippers_reach_their_target(tmp_path: Path, text: str, target: float) -> None:
    assert settle(load(tmp_path, text), [target])[0] == pytest.approx(target, rel=0.01)


def test_actuators_without_a_position_are_left_out_by_name(tmp_path: Path) -> None:
    loaded = arm(
        tmp_path,
        '<position name="servo" joint="hip"/><muscle name="biceps" joint="knee" lengthrange="0 1"/>'
        '<damper joint="knee" ctrlrange="0 1"/><motor name="off" joint="knee" gear="0"/>'
        '<general name="away" joint="knee" biastype="affine" biasprm="0 5 0"/>',
    )
    assert loaded.names == ("hip",)
    assert loaded.left_out == (
        "actuator 'biceps' is not a position, velocity or torque actuator (gain muscle, bias muscle, dynamics muscle)",
        "actuator 2 (without a name) is not a position, velocity or torque actuator (gain affine, bias none, "
        "dynamics none)",
        "actuator 'off' has no effect: its gain or gear is zero",
        "actuator 'away' pushes its joint away from the target: biasprm[1] is 5, expected below 0",
    )


def test_an_actuator_of_a_plugin_is_left_out(tmp_path: Path) -> None:
    text = RADIAN_ARM.replace("<worldbody>", '<extension><plugin plugin="mujoco.pid"/></extension><worldbody>')
    plugin = '<plugin name="pid" plugin="mujoco.pid" joint="knee"><config key="kp" value="4"/></plugin>'
    loaded = arm(tmp_path, '<position joint="hip"/>' + plugin, text)
    assert (loaded.names, loaded.left_out) == (("hip",), ("actuator 'pid' is implemented by a plugin",))


def test_a_velocity_servo_beside_a_position_servo_damps_the_joint(tmp_path: Path) -> None:
    loaded = arm(tmp_path, '<velocity name="hip" joint="hip" kv="3"/><position joint="hip" kp="50"/>')
    assert (len(loaded.drives), loaded.drives[0].actuator, loaded.names) == (1, 1, ("hip",))
    assert loaded.model.actuator(0).name == "hip_other"
    np.testing.assert_allclose(settle(loaded, [0.4]), [0.4], atol=1e-3)


@pytest.mark.parametrize(
    ("actuators", "message"),
    [
        (
            '<adhesion name="suction" body="1" ctrlrange="0 1"/>',
            "has no actuator that can be driven: actuator 'suction' acts on a body; waldo drives joints and fixed "
            "tendons, by position, velocity or torque actuators",
        ),
        (
            '<position name="p" joint="hip"/><position name="q" joint="hip"/>',
            "actuator 'p' and actuator 'q' both control the position of 'hip'; keep one of them",
        ),
        (
            '<motor name="off" joint="hip" gear="0"/>',
            "has no actuator that can be driven: actuator 'off' has no effect: its gain or gear is zero; waldo drives "
            "joints and fixed tendons, by position, velocity or torque actuators",
        ),
        (
            '<position name="p" joint="hip" ctrlrange="2 3"/>',
            "the targets of 'hip' are 2 to 3, its range is -1 to 1; make them overlap",
        ),
    ],
)
def test_a_model_that_cannot_be_driven_is_refused(tmp_path: Path, actuators: str, message: str) -> None:
    with pytest.raises(FileError) as error:
        arm(tmp_path, actuators)
    assert str(error.value) == f"{tmp_path / 'model.xml'}: {message}"


def test_without_actuators_every_joint_that_does_not_follow_another_is_driven(tmp_path: Path) -> None:
    text = ARM.format("").replace("<actuator>", '<equality><joint joint1="knee" joint2="hip"/></equality><actuator>')
    loaded = load(tmp_path, text)
    assert (loaded.names, loaded.drives[0].actuator, loaded.drives[0].is_torque) == (("hip",), -1, True)
    with pytest.raises(FileError) as error:
        load(tmp_path, "<mujoco><worldbody/></mujoco>")
    assert str(error.value).endswith("has no actuators and no hinge or slide joints; use the model of a robot")
