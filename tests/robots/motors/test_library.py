"""The motor library: every value has a source, nothing unpublished is invented in silence."""

import dataclasses

import numpy as np
import pytest

from waldo.errors import UnknownNameError
from waldo.robots.motor import Motor, UnpublishedError
from waldo.robots.motors.library import MOTORS, STS3215_7V, load_motor
from waldo.robots.thermal.two_node import Load, TwoNodeModel

VALUES = [f.name for f in dataclasses.fields(Motor) if f.name not in ("name", "thermal", "sources", "uncertainty")]


@pytest.mark.parametrize("name", MOTORS)
def test_every_value_has_a_source_and_every_source_a_value(name):
    motor = MOTORS[name]
    given = {value for value in VALUES if getattr(motor, value) is not None}
    assert set(motor.sources) == given
    assert motor.thermal is None or motor.thermal.source


@pytest.mark.parametrize("name", MOTORS)
def test_values_are_possible(name):
    motor = MOTORS[name]
    assert all(getattr(motor, value) > 0 for value in VALUES if getattr(motor, value) is not None)
    if motor.rated_torque_nm is not None and motor.peak_torque_nm is not None:
        assert motor.rated_torque_nm < motor.peak_torque_nm


def test_assumed_thermal_constants_say_so():
    assert STS3215_7V.thermal is not None
    assert STS3215_7V.thermal.basis == "assumed"


def test_the_servo_settles_where_it_was_measured():
    """SO-ARM100 issue 134: 1.47 N·m held on 12 V settles at 48 °C."""
    motor = load_motor("sts3215-12v")
    loss = (1.47 / motor.need("torque_constant_nm_per_a", "a test")) ** 2 * motor.need("resistance_ohm", "a test")
    thermal = motor.need_thermal("a test")
    assert 25 + loss * thermal.housing_to_ambient_k_per_w == pytest.approx(48, abs=0.5)


def test_the_g1_motors_hold_their_assumed_rating():
    for name in ("g1-5020", "g1-5020-pair", "g1-7520-14", "g1-7520-22", "g1-4010"):
        motor = MOTORS[name]
        thermal = motor.need_thermal("a test")
        amperes = motor.need("rated_torque_nm", "a test") / motor.need("torque_constant_nm_per_a", "a test")
        loss = amperes**2 * motor.need("resistance_ohm", "a test") * (1 + 0.00393 * 95)
        rise = loss * (thermal.winding_to_housing_k_per_w + thermal.housing_to_ambient_k_per_w)
        assert 25 + rise == pytest.approx(120)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("rs02", {17: 10, 16: 14, 15: 18, 14: 29, 13: 42, 12: 71, 11: 165, 10: 250, 9: 838}),
        ("rs03", {60: 13, 50: 34, 40: 67, 30: 393}),
    ],
)
def test_fitted_constants_reproduce_the_vendors_overload_table(name, table):
    """RobStride manuals: seconds until 145 °C at each torque [N·m], rotating, from 25 °C."""
    motor = MOTORS[name]
    model = TwoNodeModel([motor.need_thermal("a test")])
    errors = []
    for torque, seconds in table.items():
        current = torque / motor.need("torque_constant_nm_per_a", "a test")
        load = Load(np.array([current**2 * motor.need("resistance_ohm", "a test")]), np.zeros(1))
        reached = model.time_to(145.0, model.at_ambient(25.0), load, 25.0)[0]
        errors.append(abs(reached / seconds - 1))
    assert np.median(errors) < 0.15
    assert max(errors) < 0.50


def test_an_unpublished_value_is_asked_for_by_name():
    with pytest.raises(UnpublishedError) as error:
        load_motor("dm-j4310").need("resistance_ohm", "a forecast")
    assert str(error.value) == (
        "a forecast needs resistance_ohm of Damiao DM-J4310, which is not published; "
        "measure it and pass a motor that has it"
    )


def test_an_unknown_motor_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as error:
        load_motor("sts3215")
    assert str(error.value).startswith("unknown motor 'sts3215'; did you mean 'sts3215-7v'? (known: ak80-9, dm-j4310,")
