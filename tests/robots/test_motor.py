"""Motors and their thermal constants."""

import pytest

from waldo.errors import ConfigError
from waldo.robots.constant import Constant
from waldo.robots.motor import Motor, ThermalConstants, UnpublishedError

THERMAL = {
    "winding_j_per_k": 5.0,
    "housing_j_per_k": 40.0,
    "winding_to_housing_k_per_w": 4.0,
    "housing_to_ambient_k_per_w": 3.0,
}


def test_numbers_are_the_values_of_the_constants():
    motor = Motor(name="m", resistance=Constant(2.5, "Ω", "measured", "a test"))
    assert motor.resistance_ohm == 2.5
    assert motor.need("resistance_ohm", "a test") == 2.5
    assert motor.torque_constant_nm_per_a is None


def test_constants_are_listed_with_their_provenance_and_none_where_unknown():
    resistance = Constant(2.5, "Ω", "measured", "a test")
    listed = Motor(name="m", resistance=resistance).constants()
    assert listed["resistance"] is resistance
    assert listed["rated_torque"] is None
    assert len(listed) == 10


def test_a_constant_with_the_unit_of_another_field_is_refused():
    with pytest.raises(ConfigError, match="unit of resistance is 'V', expected Ω"):
        Motor(name="m", resistance=Constant(2.5, "V", "measured", "a test"))


def test_the_error_for_an_unpublished_constant_names_motor_constant_and_purpose():
    with pytest.raises(UnpublishedError) as error:
        Motor(name="Damiao DM-J4310").need("resistance_ohm", "a forecast")
    assert str(error.value) == (
        "a forecast needs resistance_ohm of Damiao DM-J4310, which is not published; "
        "measure it and pass a motor that has it"
    )
    with pytest.raises(UnpublishedError, match="needs the thermal constants of m, which is not published"):
        Motor(name="m").need_thermal("a forecast")


def test_thermal_constants_share_one_basis_and_source():
    thermal = ThermalConstants(**THERMAL, basis="fitted", source="a test")
    assert thermal.constants()["winding_j_per_k"] == Constant(5.0, "J/K", "fitted", "a test")
    assert [c.unit for c in thermal.constants().values()] == ["J/K", "J/K", "K/W", "K/W"]
    assert thermal.total_k_per_w == 7.0


@pytest.mark.parametrize("name", THERMAL)
def test_thermal_constants_are_positive(name):
    with pytest.raises(ConfigError, match=rf"^{name} is 0\.0, expected a number above 0$"):
        ThermalConstants(**{**THERMAL, name: 0.0}, basis="assumed", source="a test")


def test_an_unknown_basis_is_refused():
    with pytest.raises(ConfigError) as error:
        ThermalConstants(**THERMAL, basis="guessed", source="a test")
    assert str(error.value) == "basis is 'guessed', expected published, measured, fitted or assumed"
