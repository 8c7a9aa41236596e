"""The motor library: constants are plausible, unchanged, and have a basis and a source."""

import numpy as np
import pytest

from waldo.errors import UnknownNameError
from waldo.robots.motors.library import MOTORS, load_motor
from waldo.robots.thermal.two_node import Load, TwoNodeModel

# Motor -> name, {constant: (value, relative standard deviation)}, thermal constants with their basis: the library
# as it was when constants were plain numbers.
EXPECTED = {
    "sts3215-7v": (
        "Feetech STS3215 7.4 V",
        {
            "gear_ratio": (345, 0.1),
            "torque_constant_nm_per_a": (1.21, 0.15),
            "resistance_ohm": (2.68, 0.15),
            "rated_torque_nm": (0.49, 0.1),
            "peak_torque_nm": (1.91, 0.1),
            "no_load_speed_rad_s": (5.45, 0.1),
            "voltage_v": (7.4, 0.1),
            "efficiency_ratio": (0.64, 0.15),
            "winding_limit_c": (70, 0.1),
        },
        (4.5, 17.6, 6.1, 7.9, 0.4, "fitted"),
    ),
    "sts3215-12v": (
        "Feetech STS3215 12 V",
        {
            "gear_ratio": (345, 0.1),
            "torque_constant_nm_per_a": (2.38, 0.15),
            "resistance_ohm": (4.44, 0.1),
            "peak_torque_nm": (2.94, 0.1),
            "no_load_speed_rad_s": (4.71, 0.1),
            "voltage_v": (12.0, 0.1),
            "efficiency_ratio": (0.45, 0.15),
            "winding_limit_c": (70, 0.1),
        },
        (4.5, 17.6, 6.1, 7.9, 0.4, "fitted"),
    ),
    "sts3250-12v": (
        "Feetech STS3250 12 V",
        {
            "gear_ratio": (345, 0.1),
            "torque_constant_nm_per_a": (1.43, 0.15),
            "resistance_ohm": (2.86, 0.1),
            "peak_torque_nm": (4.9, 0.1),
            "no_load_speed_rad_s": (7.87, 0.1),
            "voltage_v": (12.0, 0.1),
            "efficiency_ratio": (0.82, 0.15),
            "winding_limit_c": (70, 0.1),
        },
        (5.0, 36.0, 5.8, 6.5, 0.4, "fitted"),
    ),
    "xl330-m288": (
        "Dynamixel XL330-M288",
        {
            "gear_ratio": (288.4, 0.1),
            "torque_constant_nm_per_a": (0.37, 0.15),
            "resistance_ohm": (2.8, 0.15),
            "peak_torque_nm": (0.52, 0.1),
            "voltage_v": (5.0, 0.1),
            "winding_limit_c": (70, 0.1),
        },
        None,
    ),
    "xl430-w250": (
        "Dynamixel XL430-W250",
        {
            "gear_ratio": (258.5, 0.1),
            "torque_constant_nm_per_a": (1.07, 0.1),
            "resistance_ohm": (8.6, 0.1),
            "peak_torque_nm": (1.5, 0.1),
            "voltage_v": (12.0, 0.1),
            "winding_limit_c": (72, 0.1),
        },
        None,
    ),
    "xm430-w350": (
        "Dynamixel XM430-W350",
        {
            "gear_ratio": (353.5, 0.1),
            "torque_constant_nm_per_a": (1.78, 0.1),
            "resistance_ohm": (5.2, 0.1),
            "peak_torque_nm": (4.1, 0.1),
            "voltage_v": (12.0, 0.1),
            "winding_limit_c": (80, 0.1),
        },
        (2.5, 45.0, 9.0, 6.0, 0.4, "assumed"),
    ),
    "xm540-w270": (
        "Dynamixel XM540-W270",
        {
            "gear_ratio": (272.5, 0.1),
            "torque_constant_nm_per_a": (2.41, 0.1),
            "resistance_ohm": (2.7, 0.1),
            "peak_torque_nm": (10.6, 0.1),
            "voltage_v": (12.0, 0.1),
            "winding_limit_c": (80, 0.1),
        },
        (5.0, 90.0, 6.0, 3.9, 0.4, "assumed"),
    ),
    "dm-j4310": (
        "Damiao DM-J4310",
        {"gear_ratio": (10, 0.1), "rated_torque_nm": (3, 0.1), "peak_torque_nm": (7, 0.1), "voltage_v": (24.0, 0.1)},
        None,
    ),
    "dm-j4340": (
        "Damiao DM-J4340",
        {"gear_ratio": (40, 0.1), "rated_torque_nm": (9, 0.1), "peak_torque_nm": (27, 0.1), "voltage_v": (24.0, 0.1)},
        None,
    ),
    "dm-j8009": (
        "Damiao DM-J8009",
        {
            "gear_ratio": (9, 0.1),
            "rated_torque_nm": (20, 0.1),
            "peak_torque_nm": (40, 0.1),
            "voltage_v": (24.0, 0.1),
        },
        None,
    ),
    "rs00": (
        "RobStride RS00",
        {
            "gear_ratio": (10, 0.1),
            "torque_constant_nm_per_a": (1.48, 0.1),
            "rated_torque_nm": (5, 0.1),
            "peak_torque_nm": (14, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        None,
    ),
    "rs01": (
        "RobStride RS01",
        {
            "gear_ratio": (7.75, 0.1),
            "rated_torque_nm": (6, 0.1),
            "peak_torque_nm": (17, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        None,
    ),
    "rs02": (
        "RobStride RS02",
        {
            "gear_ratio": (7.75, 0.1),
            "torque_constant_nm_per_a": (1.22, 0.1),
            "resistance_ohm": (0.996, 0.15),
            "rated_torque_nm": (6, 0.1),
            "peak_torque_nm": (17, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        (13.5, 229, 0.659, 0.885, "fitted"),
    ),
    "rs03": (
        "RobStride RS03",
        {
            "gear_ratio": (9, 0.1),
            "torque_constant_nm_per_a": (2.36, 0.1),
            "resistance_ohm": (0.448, 0.15),
            "rated_torque_nm": (20, 0.1),
            "peak_torque_nm": (60, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        (35.6, 492, 0.657, 1.537, "fitted"),
    ),
    "rs04": (
        "RobStride RS04",
        {
            "gear_ratio": (9, 0.1),
            "torque_constant_nm_per_a": (2.1, 0.1),
            "rated_torque_nm": (40, 0.1),
            "peak_torque_nm": (120, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        None,
    ),
    "rs05": (
        "RobStride RS05",
        {
            "gear_ratio": (7.75, 0.1),
            "torque_constant_nm_per_a": (0.94, 0.1),
            "rated_torque_nm": (1.6, 0.1),
            "peak_torque_nm": (5.5, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        None,
    ),
    "rs06": (
        "RobStride RS06",
        {
            "gear_ratio": (9, 0.1),
            "torque_constant_nm_per_a": (1.09, 0.1),
            "rated_torque_nm": (11, 0.1),
            "peak_torque_nm": (36, 0.1),
            "voltage_v": (48.0, 0.1),
            "winding_limit_c": (145, 0.1),
        },
        None,
    ),
    "el05": ("RobStride EL05", {"peak_torque_nm": (6, 0.1)}, None),
    "g1-5020": (
        "Unitree 5020",
        {
            "gear_ratio": (16, 0.1),
            "torque_constant_nm_per_a": (1.22, 0.4),
            "resistance_ohm": (0.37065045327119805, 0.4),
            "rated_torque_nm": (8.333333333333334, 0.4),
            "peak_torque_nm": (25, 0.1),
            "voltage_v": (58.0, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (16.38, 215.6, 1.2, 2.8, "assumed"),
    ),
    "g1-5020-pair": (
        "Unitree 5020 pair",
        {
            "gear_ratio": (16, 0.1),
            "torque_constant_nm_per_a": (2.36, 0.4),
            "resistance_ohm": (0.6604646614898915, 0.4),
            "rated_torque_nm": (16.666666666666668, 0.4),
            "peak_torque_nm": (50, 0.1),
            "voltage_v": (58.0, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (32.76, 431.2, 0.6, 1.5, "assumed"),
    ),
    "g1-7520-14": (
        "Unitree 7520-14",
        {
            "gear_ratio": (14.3, 0.1),
            "torque_constant_nm_per_a": (2.36, 0.4),
            "resistance_ohm": (0.18656591516130397, 0.4),
            "rated_torque_nm": (29.333333333333332, 0.4),
            "peak_torque_nm": (88, 0.1),
            "voltage_v": (58.0, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (39.779999999999994, 523.6, 0.8, 1.6, "assumed"),
    ),
    "g1-7520-22": (
        "Unitree 7520-22",
        {
            "gear_ratio": (22.5, 0.1),
            "torque_constant_nm_per_a": (2.1, 0.4),
            "resistance_ohm": (0.061782579378031825, 0.4),
            "rated_torque_nm": (46.333333333333336, 0.4),
            "peak_torque_nm": (139, 0.1),
            "voltage_v": (58.0, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (44.459999999999994, 585.1999999999999, 0.8, 1.5, "assumed"),
    ),
    "g1-4010": (
        "Unitree 4010",
        {
            "gear_ratio": (25, 0.1),
            "torque_constant_nm_per_a": (0.94, 0.4),
            "resistance_ohm": (3.1434209362923813, 0.4),
            "rated_torque_nm": (1.6666666666666667, 0.4),
            "peak_torque_nm": (5, 0.1),
            "voltage_v": (58.0, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (6.552000000000001, 86.24000000000001, 2.0, 5.0, "assumed"),
    ),
    "dex3-thumb": (
        "Unitree Dex3-1 thumb base",
        {
            "torque_constant_nm_per_a": (0.6, 0.4),
            "resistance_ohm": (3.111529829889236, 0.4),
            "rated_torque_nm": (0.8166666666666668, 0.4),
            "peak_torque_nm": (2.45, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (2.808, 36.96, 3.0, 9.0, "assumed"),
    ),
    "dex3-finger": (
        "Unitree Dex3-1 finger",
        {
            "torque_constant_nm_per_a": (0.37, 0.4),
            "resistance_ohm": (2.7177673505052073, 0.4),
            "rated_torque_nm": (0.4666666666666666, 0.4),
            "peak_torque_nm": (1.4, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (1.8719999999999999, 24.64, 4.0, 12.0, "assumed"),
    ),
    "inspire-rh56": (
        "Inspire RH56DFX actuator",
        {
            "torque_constant_nm_per_a": (0.37, 0.4),
            "resistance_ohm": (4.261459205592164, 0.4),
            "rated_torque_nm": (0.3333333333333333, 0.4),
            "peak_torque_nm": (1.0, 0.1),
            "winding_limit_c": (130, 0.4),
        },
        (1.404, 18.48, 5.0, 15.0, "assumed"),
    ),
    "go-m8010-6": ("Unitree GO-M8010-6", {"gear_ratio": (6.33, 0.1), "winding_limit_c": (90, 0.1)}, None),
    "ak80-9": (
        "CubeMars AK80-9",
        {"gear_ratio": (9, 0.1), "torque_constant_nm_per_a": (1.0350000000000001, 0.1), "peak_torque_nm": (18, 0.1)},
        None,
    ),
}
NAMES = {
    "gear_ratio": "gear_ratio",
    "torque_constant_nm_per_a": "torque_constant",
    "resistance_ohm": "resistance",
    "rated_torque_nm": "rated_torque",
    "peak_torque_nm": "peak_torque",
    "no_load_speed_rad_s": "no_load_speed",
    "voltage_v": "voltage",
    "efficiency_ratio": "gear_efficiency",
    "winding_limit_c": "winding_limit",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_constants_are_exactly_the_expected_ones(name):
    title, values, thermal = EXPECTED[name]
    motor = MOTORS[name]
    assert motor.name == title
    assert {key: (c.value, c.relative_std) for key, c in motor.constants().items() if c is not None} == {
        NAMES[key]: pair for key, pair in values.items()
    }
    for key, (value, _) in values.items():
        if key != "gear_ratio":
            assert motor.need(key, "a test") == value
    if thermal is None:
        assert motor.thermal is None
    else:
        found = motor.need_thermal("a test")
        assert (*(c.value for c in found.constants().values()), found.basis) == thermal


def test_the_library_contains_the_expected_motors_in_order():
    assert list(MOTORS) == list(EXPECTED)


@pytest.mark.parametrize("name", MOTORS)
def test_the_rated_torque_is_below_the_peak_torque(name):
    motor = MOTORS[name]
    if motor.rated_torque_nm is not None and motor.peak_torque_nm is not None:
        assert motor.rated_torque_nm < motor.peak_torque_nm


def test_each_constant_has_its_own_basis():
    servo = load_motor("sts3215-7v").constants()
    assert servo["peak_torque"].basis == "published"
    assert servo["resistance"].basis == "fitted"
    assert load_motor("sts3215-7v").need_thermal("a test").basis == "fitted"
    assert load_motor("g1-5020").constants()["resistance"].basis == "assumed"


@pytest.mark.parametrize("name", ["sts3215-7v", "sts3215-12v", "sts3250-12v"])
def test_the_stall_torque_of_a_servo_follows_from_its_constants(name):
    motor = load_motor(name)
    amperes = motor.need("voltage_v", "a test") / motor.need("resistance_ohm", "a test")
    stall = amperes * motor.need("torque_constant_nm_per_a", "a test") * motor.need("efficiency_ratio", "a test")
    assert stall == pytest.approx(motor.need("peak_torque_nm", "a test"), rel=0.13)


def test_the_g1_motors_reach_120_degrees_at_their_assumed_rated_torque():
    for name in ("g1-5020", "g1-5020-pair", "g1-7520-14", "g1-7520-22", "g1-4010"):
        motor = MOTORS[name]
        amperes = motor.need("rated_torque_nm", "a test") / motor.need("torque_constant_nm_per_a", "a test")
        loss = amperes**2 * motor.need("resistance_ohm", "a test") * (1 + 0.00393 * 95)
        assert 25 + loss * motor.need_thermal("a test").total_k_per_w == pytest.approx(120)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("rs02", {17: 10, 16: 14, 15: 18, 14: 29, 13: 42, 12: 71, 11: 165, 10: 250, 9: 838}),
        ("rs03", {60: 13, 50: 34, 40: 67, 30: 393}),
    ],
)
def test_fitted_constants_reproduce_the_manufacturers_overload_table(name, table):
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


def test_an_unknown_motor_is_refused_with_the_closest_name():
    with pytest.raises(UnknownNameError) as error:
        load_motor("sts3215")
    assert str(error.value).startswith(
        "unknown motor 'sts3215'; did you mean 'sts3215-7v'? (known: ak80-9, dex3-finger,"
    )
