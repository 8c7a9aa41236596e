"""Published temperatures of servos lie within the uncertainty of the library's prediction."""

import numpy as np
import pytest

from waldo.robots.motors.library import MOTORS
from waldo.robots.motors.published_tests import HEAT_TESTS, HELD_THEN_SWUNG, HeatTest, Phase, draw, predicted
from waldo.robots.thermal.two_node import TwoNodeModel

Z90 = 1.645
"""Standard deviations to either side that contain 90 % of a normal distribution."""


@pytest.mark.parametrize("name", HEAT_TESTS)
def test_every_published_reading_is_within_the_predicted_interval(name):
    test = HEAT_TESTS[name]
    expected, std = predicted(test, MOTORS[test.motor].need_thermal("a test"))
    published = np.array([phase.driver_c for phase in test.readings])
    assert (np.abs(published - expected) < Z90 * std).all()
    # Wrong constants can hide in a wide interval: the median is close as well.
    assert (np.abs(published - expected) < 12).all()


def test_the_sensor_on_the_board_is_warmer_than_the_housing_and_colder_than_the_winding():
    model = TwoNodeModel([MOTORS["sts3215-7v"].need_thermal("a test")])
    assert model.driver_c(np.array([[60.0, 40.0]]))[0] == pytest.approx(48.0)


def test_a_constant_load_does_not_explain_the_second_rise():
    """60 °C that were constant for 20 min do not become 71 °C by a slow node of the servo: the heat grew."""
    model = TwoNodeModel([MOTORS["sts3215-12v"].need_thermal("a test")])
    normal = np.zeros((1, HELD_THEN_SWUNG.uncertain))
    *_, before, after = HELD_THEN_SWUNG.predict(model, normal)[0]
    constant = HeatTest(
        motor="sts3215-12v",
        source="a test",
        description="",
        phases=(Phase(seconds=4200, loss_w=3.0, driver_c=60.0),) * 2,
    )
    first, second = constant.predict(model, np.zeros((1, constant.uncertain)))[0]
    assert second - first < 1
    assert after - before > 4


def test_servos_are_drawn_with_the_uncertainty_of_their_constants():
    constants = MOTORS["sts3215-7v"].need_thermal("a test")
    model = draw(constants, 4000, np.random.default_rng(0))
    assert constants.std is not None
    assert np.log(model.ch).std() == pytest.approx(constants.std[1], rel=0.1)
    assert model.driver_sensor_ratio.std() == pytest.approx(0.15, rel=0.1)
