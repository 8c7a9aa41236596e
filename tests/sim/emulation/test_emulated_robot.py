"""Which robots can be emulated, with which motors and ids."""

from __future__ import annotations

import pytest

from waldo.errors import InvalidValueError, MissingOptionError, UnknownNameError, WaldoError
from waldo.sim.emulation.arms import ARMS, make_arm
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.emulated_robot import load_emulated


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_has_one_motor_id_and_joint_each(name: str) -> None:
    arm = ARMS[name]
    robot, model = make_arm(name, arm)
    assert robot.joint_names == arm.names
    assert len(set(arm.ids)) == len(arm.motors) == len(arm.names) == model.nu
    found = load_emulated(name)
    kind = EmulatedLeader if arm.is_leader else EmulatedJoints
    assert isinstance(found.joints(), kind)
    if arm.driver in ("damiao", "robstride"):
        assert len(found.ranges()) == len(arm.motors)


def test_motors_and_ids_are_chosen() -> None:
    found = load_emulated("so101", "dynamixel", ["xl430-w250"], (11, 12, 13, 14, 15, 16))
    assert found.motors == ("xl430-w250",) * 6
    assert found.ids == (11, 12, 13, 14, 15, 16)
    assert load_emulated("so101").ids == (1, 2, 3, 4, 5, 6)
    bare = load_emulated("motors", "feetech", ["sts3215"], (3, 4))
    assert (bare.motors, bare.ids) == (("sts3215", "sts3215"), (3, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("koh",), UnknownNameError, "did you mean 'koch'"),
        (("so101", "feetech", ["sts3215"] * 2), InvalidValueError, "--motors is '2 values', expected 6, one for each"),
        (("so101", "feetech", [], (1, 2)), InvalidValueError, "--ids is '2 values', expected 6"),
        (("so101", "feetech", [], (1, 1, 2, 3, 4, 5)), InvalidValueError, "expected different ids"),
        (("koch", "feetech"), InvalidValueError, "expected dynamixel, which the motors of koch speak"),
        (("motors", "feetech"), MissingOptionError, "requires --motors and --driver"),
        (("motors", "feetech", ["servo"]), UnknownNameError, "unknown motor 'servo'"),
    ],
)
def test_errors_name_what_was_found_and_expected(
    arguments: tuple[object, ...], error: type[WaldoError], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_emulated(*arguments)  # type: ignore[arg-type]


def test_ranges_of_unknown_can_motors_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown Damiao motor 'xl430-w250'"):
        load_emulated("so101", "damiao", ["xl430-w250"]).ranges()
    with pytest.raises(InvalidValueError, match="name the motors with --motors"):
        load_emulated("so101", "robstride").ranges()
