"""The two-node model against the rated currents of a catalog that publishes thermal constants."""

import numpy as np
import pytest

from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.two_node import Load, TwoNodeModel

SOURCE = "maxon catalog, EC 13, 13 mm, brushless, 6 W (order numbers 305190 to 305194)"
WINDING_LIMIT_C = 155.0
EC13 = ThermalConstants(
    # Catalog: thermal time constants of winding 0.72 s and motor 188 s; resistances 2.46 and 32 K/W.
    winding_j_per_k=0.72 / 2.46,
    housing_j_per_k=188 / 32,
    winding_to_housing_k_per_w=2.46,
    housing_to_ambient_k_per_w=32.0,
    basis="published",
    source=SOURCE,
)
# Order number -> terminal resistance phase to phase [Ω], nominal current [A].
WINDINGS = {
    "305190": (1.40, 1.31),
    "305191": (2.48, 0.973),
    "305192": (5.74, 0.645),
    "305193": (13.2, 0.424),
    "305194": (24.6, 0.312),
}


def rated_current(resistance_ohm):
    """The current at which the winding settles at its limit at 25 °C ambient [A], by bisection."""
    model, low, high = TwoNodeModel([EC13]), 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        load = Load(np.array([middle**2 * resistance_ohm]), np.zeros(1))
        low, high = (middle, high) if model.steady(load, 25.0)[0, 0] < WINDING_LIMIT_C else (low, middle)
    return low


@pytest.mark.parametrize("number", WINDINGS)
def test_the_rated_current_of_the_catalog_follows_from_its_thermal_constants(number):
    resistance, nominal = WINDINGS[number]
    assert rated_current(resistance) == pytest.approx(nominal, rel=0.04)


def test_the_catalog_allows_a_little_less_because_of_friction():
    assert all(1 < rated_current(resistance) / nominal < 1.04 for resistance, nominal in WINDINGS.values())


def test_the_time_constants_of_the_catalog_are_those_of_the_model():
    model = TwoNodeModel([EC13])
    hot = np.array([[125.0, 25.0]])
    nothing = Load(np.zeros(1), np.zeros(1))
    after = model.step(hot, nothing, 25.0, 0.72)
    assert (after[0, 0] - after[0, 1]) / 100 == pytest.approx(np.exp(-1), abs=0.02)
    warm = model.step(np.array([[75.0, 75.0]]), nothing, 25.0, 188.0)
    assert (warm[0, 1] - 25) / 50 == pytest.approx(np.exp(-1), abs=0.02)
