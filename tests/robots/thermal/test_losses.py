"""Losses of motors from currents, torques and duty cycles."""

import numpy as np
import pytest

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor
from waldo.robots.thermal.losses import FROM_DUTY, FROM_TORQUE, MEASURED, UNKNOWN, LossModel

MOTOR = Motor(
    name="m",
    torque_constant=Constant(2.0, "N·m/A", "assumed", "a test"),
    resistance=Constant(0.5, "Ω", "assumed", "a test"),
    gear_efficiency=Constant(0.8, "1", "assumed", "a test"),
    iron_loss=Constant(0.1, "W/(rad/s)²", "assumed", "a test"),
)
NAN = np.full(1, np.nan)


def array(value):
    return np.array([float(value)])


def currents(model, *, current=NAN, torque=NAN, duty=NAN, winding=25.0, velocity=0.0):
    return model.currents(
        current_a=current,
        torque_nm=torque,
        duty_ratio=duty,
        voltage_v=array(10.0),
        velocity_rad_s=array(velocity),
        winding_c=array(winding),
    )


def test_a_measured_current_is_preferred_to_a_torque_and_a_torque_to_a_duty_cycle():
    model = LossModel([MOTOR])
    every = {"current": array(3.0), "torque": array(8.0), "duty": array(0.5)}
    for origin, missing in ((MEASURED, ()), (FROM_TORQUE, ("current",)), (FROM_DUTY, ("current", "torque"))):
        found = currents(model, **{name: values for name, values in every.items() if name not in missing})
        assert found.origin[0] == origin
    unknown = currents(model)
    assert (unknown.origin[0], unknown.current_a[0]) == (UNKNOWN, 0.0)


def test_a_gear_adds_its_loss_when_driving_and_subtracts_it_when_driven_and_neither_at_standstill():
    model = LossModel([MOTOR])
    assert model.current_from_torque(array(8.0), array(1.0))[0] == pytest.approx(5.0)
    assert model.current_from_torque(array(8.0), array(-1.0))[0] == pytest.approx(3.2)
    assert model.current_from_torque(array(8.0), array(0.0))[0] == pytest.approx(4.0)
    assert model.current_from_torque(array(8.0), array(np.nan))[0] == pytest.approx(4.0), "a robot without velocities"


def test_the_current_of_a_duty_cycle_accounts_for_back_emf_and_temperature():
    model = LossModel([MOTOR])
    assert model.current_from_duty(array(0.5), array(10.0), array(1.0), array(25.0))[0] == pytest.approx(6.0)
    hot = model.current_from_duty(array(0.5), array(10.0), array(1.0), array(125.0))[0]
    assert hot == pytest.approx(6.0 / 1.393)


def test_the_load_consists_of_copper_and_iron_losses():
    load = LossModel([MOTOR]).load(array(3.0), array(2.0))
    assert load.copper_w[0] == pytest.approx(4.5)
    assert load.other_w[0] == pytest.approx(0.4)


def test_without_published_constants_losses_are_unknown():
    model = LossModel([Motor(name="m")])
    assert np.isnan(model.load(array(3.0), array(0.0)).copper_w[0])
    assert currents(model, torque=array(8.0)).origin[0] == UNKNOWN
