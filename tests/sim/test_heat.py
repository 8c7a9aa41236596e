import numpy as np
import pytest

from waldo.robots.description import load_robot
from waldo.robots.thermal.duty import DutyMeter
from waldo.robots.thermal.two_node import Load
from waldo.sim.heat import KEPT_TICKS, SimulatedHeat

ROBOT = load_robot("so101")
JOINTS = len(ROBOT.joints)


def heat(worlds: int = 1) -> SimulatedHeat:
    return SimulatedHeat(ROBOT, worlds, 1 / 60, np.arange(JOINTS), JOINTS)


def torques(ticks: int, worlds: int = 1) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(0.9, 0.5, (ticks, worlds, JOINTS))


def test_a_stall_follows_the_analytic_solution():
    motors, torque = heat(), np.full((1, JOINTS), 1.91)
    load = Load(np.square(motors.motor_torque(torque) / motors.torque_constant) * motors.resistance, np.zeros(JOINTS))
    start = motors.state_c.copy()
    for tick in range(1, 60 * 60 + 1):
        motors.add(torque)
        if tick % 97 == 0:
            exact = motors.model.step(start, load, 25.0, tick / 60)
            np.testing.assert_allclose(motors.state_c, exact, atol=0.1)
    assert motors.state_c.max() > 65


def test_a_drive_at_its_limit_has_the_stall_current_of_the_data_sheet():
    """An STS3215 at 7.4 V stalls with 1.91 N·m and 2.4 A; LeRobot halves the limit of the gripper."""
    motors = heat()
    limits = np.array([joint.effort for joint in ROBOT.joints])
    pressing = motors.motor_torque(-limits) / motors.torque_constant
    np.testing.assert_allclose(pressing, [-2.4] * 5 + [-1.2], rtol=0.04)
    holding = motors.motor_torque(0.9 * limits)
    np.testing.assert_array_equal(holding, 0.9 * limits)
    for sign, torque in ((1, limits), (-1, -limits)):
        warm = heat()
        for _ in range(120):
            warm.add(torque[None])
        colder = heat()
        for _ in range(120):
            colder.add(0.98 * torque[None])
        rise = (warm.state_c[0, :, 0] - 25) / (colder.state_c[0, :, 0] - 25)
        assert (rise > 2.3).all(), sign


def test_a_load_that_changes_every_tick_is_within_a_tenth_of_a_degree_of_the_exact_solution():
    motors = heat()
    exact = motors.state_c.copy()
    for torque in torques(3000):
        motors.add(torque)
        load = Load(
            np.square(motors.motor_torque(torque) / motors.torque_constant) * motors.resistance, np.zeros(JOINTS)
        )
        exact = motors.model.step(exact, load, 25.0, 1 / 60)
    np.testing.assert_allclose(motors.state_c, exact, atol=0.1)


def test_reading_does_not_change_the_temperatures():
    unread, read = heat(2), heat(2)
    for tick, torque in enumerate(torques(3 * KEPT_TICKS + 7, 2)):
        unread.add(torque)
        read.add(torque)
        if tick % 5 == 0:
            assert read.state_c.shape == (2, JOINTS, 2)
            assert read.duty.seconds[0, 0] == pytest.approx((tick + 1) / 60)
    np.testing.assert_array_equal(unread.state_c, read.state_c)
    np.testing.assert_array_equal(unread.duty.joules, read.duty.joules)


def test_worlds_at_different_ticks_are_independent():
    together, every = heat(3), torques(200, 3)
    for tick in range(200):
        together.add(every[tick], np.array([0, 2]) if tick % 3 == 0 else None)
        if tick == 100:
            together.restart(np.array([2]), (60.0, 50.0))
    alone = heat()
    for torque in every[[tick for tick in range(200) if tick % 3]]:
        alone.add(torque[1:2])
    np.testing.assert_array_equal(together.state_c[1], alone.state_c[0])
    np.testing.assert_array_equal(together.duty.joules[1], alone.duty.joules[0])
    alone = heat()
    alone.restart(np.array([0]), (60.0, 50.0))
    for torque in every[101:]:
        alone.add(torque[2:3])
    np.testing.assert_array_equal(together.state_c[2], alone.state_c[0])


def test_settling_converts_stored_torques_without_changing_the_readings():
    motors = heat()
    for torque in torques(25):
        motors.add(torque)
    before, joules = motors.state_c.copy(), motors.duty.joules
    motors.settle(np.array([0]))
    np.testing.assert_array_equal(motors.state_c, before)
    np.testing.assert_array_equal(motors.duty.joules, joules)


def test_duty_equals_that_of_single_ticks():
    motors, meter = heat(), DutyMeter(np.array([np.nan] * JOINTS), worlds=(1,))
    for torque in torques(500):
        motors.add(torque)
        loss = np.square(motors.motor_torque(torque) / motors.torque_constant) * motors.resistance
        loss *= 1 + 0.00393 * (motors.state_c[..., 0] - 25)
        meter.add(torque, loss, motors.state_c[..., 0], 1 / 60)
    np.testing.assert_allclose(motors.duty.equivalent_torque_nm, meter.equivalent_torque_nm)
    np.testing.assert_allclose(motors.duty.joules, meter.joules, rtol=1e-3)
    np.testing.assert_allclose(motors.duty.peak_winding_c, meter.peak_winding_c, atol=0.2)
    np.testing.assert_allclose(motors.duty.seconds, meter.seconds)
