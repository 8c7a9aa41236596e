"""Posterior of the thermal constants of Feetech's servos, given the published tests of their temperature.

Usage: uv run python benchmarks/servo_heat.py

An affine-invariant ensemble sampler (Goodman and Weare 2010) draws the four constants, the place of the sensor and the
conditions that no publication states: current, air temperature, time. Prints the constants with their standard
deviations, which robots/motors/feetech.py contains, the residuals, and what the library predicts for each test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tyro
from workload import print_table

from waldo.robots.motor import ThermalConstants
from waldo.robots.motors.library import MOTORS
from waldo.robots.motors.published_tests import HEAT_TESTS, HeatTest, predicted
from waldo.robots.thermal.two_node import TwoNodeModel
from waldo.typing import Array

NAMES = ("C_w J/K", "C_h J/K", "R_1 K/W", "R_2 K/W", "sensor ratio")

PRIOR = {
    "sts3215": (np.array([5.0, 25.0, 6.0, 10.0]), np.array([0.4, 0.5, 0.5, 0.4])),
    "sts3250": (np.array([5.0, 35.0, 6.0, 6.5]), np.array([0.4, 0.4, 0.4, 0.35])),
}
"""Servo -> prior means and standard deviations of the logarithms of the four constants. STS3215: 12 g of copper
and iron; half of the other 43 g, since the plastic case conducts poorly; free convection from a case of 45 x 25 x 35 mm
with 12 W/m²K. STS3250: the same size with a case of aluminum, which spreads the heat."""

SENSOR_LOGIT, SENSOR_LOGIT_STD = math.log(0.35 / 0.65), 0.8
"""Prior of the logit of the sensor's place between housing and winding."""

BEFORE = ThermalConstants(
    winding_j_per_k=5.0,
    housing_j_per_k=42.0,
    winding_to_housing_k_per_w=4.0,
    housing_to_ambient_k_per_w=2.8,
    basis="assumed",
    source="the library before these tests were fitted: R_2 from one point, the sensor on the housing",
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sampling."""

    steps: int = 3000
    """Steps of the ensemble; the first half is discarded."""
    walkers: int = 128
    """Size of the ensemble."""


class Posterior:
    """The log posterior of points (points, 5 + conditions) for several tests of one servo."""

    def __init__(self, tests: Sequence[HeatTest], mean: Array, std: Array) -> None:
        self.tests, self.mean, self.std = tests, np.log(mean), std
        self.size = 5 + sum(test.uncertain for test in tests)

    def model(self, points: Array) -> TwoNodeModel:
        """Return the constants of the points."""
        model = TwoNodeModel.from_arrays(*np.exp(self.mean[:, None] + self.std[:, None] * points[:, :4].T))
        model.driver_sensor_ratio = 1 / (1 + np.exp(-SENSOR_LOGIT - SENSOR_LOGIT_STD * points[:, 4]))
        return model

    def readings(self, points: Array) -> list[Array]:
        """Return the predicted readings of each test, (points, readings) [°C]."""
        model, out, at = self.model(points), [], 5
        for test in self.tests:
            out.append(test.predict(model, points[:, at : at + test.uncertain]))
            at += test.uncertain
        return out

    def __call__(self, points: Array) -> Array:
        """Return the log posterior, (points,). All coordinates have a standard normal prior."""
        out = -0.5 * np.sum(np.square(points), axis=1)
        for test, values in zip(self.tests, self.readings(points), strict=True):
            measured = np.array([phase.driver_c for phase in test.readings], dtype=float)
            std = np.array([phase.reading_std_k for phase in test.readings])
            out = out - 0.5 * np.sum(np.square((values - measured) / std), axis=1)
        return np.nan_to_num(out, nan=-1e12, neginf=-1e12)


def sample(posterior: Posterior, config: Config) -> Array:
    """Return points of the posterior, (points, coordinates)."""
    rng = np.random.default_rng(0)
    points = 0.3 * rng.normal(size=(config.walkers, posterior.size))
    value, kept = posterior(points), []
    halves = np.arange(config.walkers)[0::2], np.arange(config.walkers)[1::2]
    for step in range(config.steps):
        for moved, others in (halves, halves[::-1]):
            stretch = np.square(rng.random(len(moved)) * (2**0.5 - 0.5**0.5) + 0.5**0.5)
            from_points = points[rng.choice(others, len(moved))]
            proposed = from_points + stretch[:, None] * (points[moved] - from_points)
            new = posterior(proposed)
            taken = np.log(rng.random(len(moved))) < (posterior.size - 1) * np.log(stretch) + new - value[moved]
            points[moved[taken]], value[moved[taken]] = proposed[taken], new[taken]
        if step >= config.steps // 2 and step % 10 == 0:
            kept.append(points.copy())
    return np.concatenate(kept)


def report(name: str, posterior: Posterior, points: Array) -> None:
    """Print the constants and the residuals of one servo."""
    model = posterior.model(points)
    constants = [model.cw, model.ch, model.r1, model.r2]
    rows = [[NAMES[i], f"{np.exp(np.log(c).mean()):.3g}", f"{np.log(c).std():.0%}"] for i, c in enumerate(constants)]
    ratio = model.driver_sensor_ratio
    rows.append([NAMES[4], f"{ratio.mean():.2f}", f"{ratio.std():.2f}"])
    print_table(f"{name}: posterior", ["constant", "value", "standard deviation"], rows)
    residuals = []
    labels = {id(test): label for label, test in HEAT_TESTS.items()}
    for test, values in zip(posterior.tests, posterior.readings(points), strict=True):
        for phase, reading in zip(test.readings, values.T, strict=True):
            fitted = f"{reading.mean():.1f} ± {reading.std():.1f}"
            residuals.append([labels[id(test)], f"{phase.driver_c:.0f}", fitted])
    print_table(f"{name}: fitted readings °C", ["test", "published", "fitted"], residuals)


def main() -> None:
    """Sample both servos and print what the library predicts."""
    config = tyro.cli(Config, description=__doc__)
    for name, (mean, std) in PRIOR.items():
        posterior = Posterior([test for test in HEAT_TESTS.values() if test.motor.startswith(name)], mean, std)
        report(name, posterior, sample(posterior, config))
    rows: list[list[str]] = []
    for name, test in HEAT_TESTS.items():
        before = predicted(test, BEFORE)
        now = predicted(test, MOTORS[test.motor].need_thermal("a benchmark"))
        for i, phase in enumerate(test.readings):
            shown = [f"{middle[i]:.0f} ± {deviation[i]:.0f}" for middle, deviation in (before, now)]
            rows.append([name, f"{phase.driver_c:.0f} ± {phase.reading_std_k:g}", *shown])
    columns = ["test", "published °C", "constants before", "library"]
    notes = ["Median and standard deviation, with the uncertainty of constants, load, air temperature and reading."]
    print_table("Published tests as predicted by the library", columns, rows, notes)


if __name__ == "__main__":
    main()
