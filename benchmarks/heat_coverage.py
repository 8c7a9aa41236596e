"""Coverage of the estimated uncertainties: simulated motors that deviate from their constants, observer and forecast.

Usage: uv run python benchmarks/heat_coverage.py [--runs 2000]

Each run is one motor of the library with individual properties: a gear efficiency that deviates and varies, unmodeled
friction, a varying air temperature, deviating thermal constants, a torque sensor with an error, temperature sensors
with an offset that round to 1 °C. The last rows are servos whose constants are fitted to published tests: their
constants and the place of the sensor on the board deviate by the stated standard deviations. The observer receives
the torque and the sensor readings. At a random time its temperature and time to limit are recorded; then the load
continues at about its recent level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tyro
from numpy.typing import NDArray
from workload import print_table

from waldo.robots.motor import Motor, ThermalConstants
from waldo.robots.motors.library import MOTORS
from waldo.robots.thermal import forecast
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.robots.thermal.losses import LossModel
from waldo.robots.thermal.observer import HeatObserver, ObserverConfig
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K, Load, TwoNodeModel
from waldo.typing import Array

Z95 = 1.6448536269514722
"""95 % quantile of the standard normal distribution: the bound of a 90 % interval."""

RECENT_S = 60.0
"""Time constant of the mean that represents the recent load [s]."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure how often 90 % intervals contain the true value."""

    runs: int = 2000
    """Simulated motors per row of the table."""
    minutes: float = 10.0
    """Longest time until the estimate is recorded; each run has a random one [min]."""
    dt_s: float = 1.0
    """Length of a step [s]."""
    efficiency_std: float = 0.08
    """Standard deviation of the logarithm of the gear efficiency."""
    friction_ratio: float = 0.05
    """Standard deviation of the unmodeled friction, as a fraction of the rated torque."""
    ambient_std_k: float = 4.0
    """Standard deviation of the air temperature [K]."""
    constants_std: float = 0.05
    """Standard deviation of the logarithms of thermal resistances and capacities."""
    load_std: float = 0.15
    """Relative standard deviation of the later load."""
    seed: int = 0


class Fleet:
    """Simulated motors with individual properties that the observer does not receive. Shapes (runs,)."""

    def __init__(self, config: Config, motors: list[Motor], rng: np.random.Generator) -> None:
        """Draw the properties of each motor."""
        self.config, self.rng, n = config, rng, config.runs
        self.nominal = TwoNodeModel([_thermal(m) for m in motors])
        self.true = TwoNodeModel([_disturbed(_thermal(m), config.constants_std, rng) for m in motors])
        place = self.nominal.driver_sensor_ratio + self.nominal.driver_sensor_std * rng.normal(0, 1, n)
        self.true.driver_sensor_ratio = np.clip(place, 0, 1)
        self.losses = LossModel(motors)
        # The torque with a steady state at the limit; the resistance is that of the hot winding.
        rise = np.array([m.need("winding_limit_c", "a benchmark") for m in motors]) - AMBIENT_C
        total = self.nominal.r1 + self.nominal.r2
        self.rated = np.sqrt(rise / total / self.losses.r25 / (1 + COPPER_ALPHA_PER_K * rise)) * self.losses.kt
        self.limit_c = rise + AMBIENT_C
        self.ambient = rng.normal(0, config.ambient_std_k, n)
        self.efficiency = rng.normal(0, config.efficiency_std, n)
        self.friction = np.abs(rng.normal(0, config.friction_ratio, n)) * self.rated
        self.gain = np.exp(rng.normal(0, 0.03, n))
        self.offset = {
            name: rng.normal(0, std, n) for name, std in (("winding", 1.0), ("housing", 1.5), ("driver", 4.0))
        }
        self.state = np.repeat((AMBIENT_C + self.ambient)[:, None], 2, axis=1)
        self.recent_w = np.zeros(n)
        self.tripped: NDArray[np.bool_] = np.zeros(n, dtype=bool)

    def wander(self, dt_s: float) -> None:
        """Vary air temperature and gear efficiency, with a correlation time of half an hour."""
        stay = np.exp(-dt_s / 1800.0)
        fresh = np.sqrt(1 - stay**2)
        c, n = self.config, self.config.runs
        self.ambient = stay * self.ambient + fresh * self.rng.normal(0, c.ambient_std_k, n)
        self.efficiency = stay * self.efficiency + fresh * self.rng.normal(0, c.efficiency_std, n)

    def heat(self, torque_nm: Array, dt_s: float) -> None:
        """Advance by `dt_s` under a joint torque, with friction and gear losses."""
        current = (torque_nm + self.friction * (torque_nm > 0)) / self.losses.kt / np.exp(self.efficiency)
        load = Load(np.square(current) * self.losses.r25, np.zeros_like(current))
        self.recent_w += dt_s / RECENT_S * (load.copper_w - self.recent_w)
        self.state = self.true.step(self.state, load, AMBIENT_C + self.ambient, dt_s)

    def allowed(self, torque_nm: Array) -> Array:
        """Return the torque that the drive produces: none from the limit on, until the winding is 15 K below it."""
        winding = self.state[:, 0]
        self.tripped = (winding > self.limit_c) | (self.tripped & (winding > self.limit_c - 15))
        return np.where(self.tripped, 0.0, torque_nm)

    def sensor(self, name: str) -> Array:
        """Return the readings of a kind of sensor, with offset, rounded to 1 °C."""
        real = self.true.driver_c(self.state) if name == "driver" else self.state[:, ("winding", "housing").index(name)]
        return np.round(real + self.offset[name])

    def measured(self, torque_nm: Array) -> Load:
        """Return the load computed from the torque sensor."""
        current = torque_nm * self.gain / self.losses.kt
        return Load(np.square(current) * self.losses.r25, np.zeros_like(current))


def _thermal(motor: Motor) -> ThermalConstants:
    return motor.need_thermal("a benchmark")


def _disturbed(constants: ThermalConstants, std: float, rng: np.random.Generator) -> ThermalConstants:
    cw, ch, r1, r2 = np.exp(rng.normal(0, 1, 4) * (constants.std or std))
    return ThermalConstants(
        winding_j_per_k=constants.winding_j_per_k * cw,
        housing_j_per_k=constants.housing_j_per_k * ch,
        winding_to_housing_k_per_w=constants.winding_to_housing_k_per_w * r1,
        housing_to_ambient_k_per_w=constants.housing_to_ambient_k_per_w * r2,
        basis="assumed",
        source="a benchmark",
    )


def run(config: Config, sensors: tuple[str, ...], *, servos: bool = False) -> list[str]:
    """Simulate all runs with a set of sensors and return the row of the table.

    Args:
        config: The simulation.
        sensors: Kinds of sensor that the motors have.
        servos: Simulate servos with a sensor on the board, instead of the other motors.
    """
    rng = np.random.default_rng(config.seed)
    known = [m for m in MOTORS.values() if m.thermal and m.resistance_ohm and m.torque_constant_nm_per_a]
    usable = [m for m in known if (_thermal(m).driver_sensor_ratio > 0) is servos]
    motors = [usable[k % len(usable)] for k in range(config.runs)]
    fleet = Fleet(config, motors, rng)
    observer = HeatObserver(fleet.nominal, ObserverConfig())
    steps = round(config.minutes * 60 / config.dt_s)
    stop = rng.integers(steps // 10, steps, config.runs)
    torque = _torques(config, fleet, steps, rng)
    recent = np.zeros(config.runs)
    estimates = _Estimates(config.runs)
    for k in range(steps):
        fleet.wander(config.dt_s)
        actual = fleet.allowed(torque[k])
        fleet.heat(actual, config.dt_s)
        measured = fleet.measured(actual)
        readings = {name: fleet.sensor(name) for name in sensors}
        observer.step(measured, config.dt_s, readings)
        recent += config.dt_s / RECENT_S * (measured.copper_w - recent)
        due = stop == k
        if due.any():
            estimates.take(due, observer, Load(recent.copy(), np.zeros_like(recent)), fleet, config)
    label = ("servos: " if servos else "") + (" + ".join(sensors) or "none")
    return estimates.row(label, fleet, rng, config)


def _torques(config: Config, fleet: Fleet, steps: int, rng: np.random.Generator) -> Array:
    """Return torques (steps, runs) [N·m]: work cycles of some seconds, from light to excessive."""
    period, ratio = rng.uniform(6, 30, config.runs), rng.uniform(0.4, 0.9, config.runs)
    level = fleet.rated * np.sqrt(np.exp(rng.uniform(np.log(0.4), np.log(6.0), config.runs)) / ratio)
    seconds = np.arange(steps)[:, None] * config.dt_s
    return np.where((seconds / period) % 1 < ratio, level, 0.1 * level)


class _Estimates:
    """Estimate and true value of each run at its time of recording."""

    def __init__(self, runs: int) -> None:
        self.winding, self.std = np.zeros(runs), np.zeros(runs)
        self.low, self.high = np.zeros(runs), np.zeros(runs)
        self.true, self.recent_w = np.zeros((runs, 2)), np.zeros(runs)
        self.ambient = np.zeros(runs)

    def take(self, due: NDArray[np.bool_], observer: HeatObserver, load: Load, fleet: Fleet, config: Config) -> None:
        """Record the estimates of the runs that are due."""
        trajectory = forecast.predict(
            observer.model, observer.mean, observer.covariance, load, config.load_std, forecast.time_grid(48)
        )
        low, high = forecast.interval(trajectory, fleet.limit_c, observer.winding_c, Z95)
        pairs = [(self.winding, observer.winding_c), (self.std, observer.winding_std_k), (self.low, low)]
        pairs += [(self.high, high), (self.true, fleet.state), (self.recent_w, fleet.recent_w)]
        pairs.append((self.ambient, fleet.ambient))
        for kept, now in pairs:
            kept[due] = now[due]

    def row(self, label: str, fleet: Fleet, rng: np.random.Generator, config: Config) -> list[str]:
        """Continue the load, find when each winding reaches its limit, and compare."""
        error = self.winding - self.true[:, 0]
        inside = np.abs(error) <= Z95 * self.std
        later_w = self.recent_w * np.exp(rng.normal(0, config.load_std, config.runs))
        load = Load(later_w, np.zeros_like(later_w))
        horizon = forecast.HORIZON_S
        truth = fleet.true.time_to(fleet.limit_c, self.true, load, AMBIENT_C + self.ambient, horizon_s=horizon)
        stated = np.isfinite(self.low) & (self.true[:, 0] < fleet.limit_c) & (self.winding < fleet.limit_c)
        covered = (truth >= self.low) & (truth <= self.high)
        # An infinite upper bound cannot be wrong: the expected coverage is 95 %.
        closed, open_ = stated & np.isfinite(self.high), stated & ~np.isfinite(self.high)
        return [
            label,
            f"{len(error):,}",
            f"{np.median(np.abs(error)):.1f} / {np.quantile(np.abs(error), 0.9):.1f} / {np.abs(error).max():.1f}",
            f"{inside.mean():.1%}",
            f"{covered[closed].mean():.1%} of {closed.sum():,}",
            f"{covered[open_].mean():.1%} of {open_.sum():,}",
        ]


def main() -> None:
    """Run with each set of sensors and print the table."""
    config = tyro.cli(Config, description=__doc__)
    rows = [run(config, sensors) for sensors in (("winding", "housing"), ("winding",), ("housing",), ())]
    rows += [run(config, sensors, servos=True) for sensors in (("driver",), ())]
    columns = ["sensors", "runs", "winding error K, median / p90 / maximum", "winding in its 90 % interval"]
    columns += [
        "time to limit in its 90 % interval",
        "after the lower bound, if the upper is infinite (expected: 95 %)",
    ]
    print_table("Coverage of the uncertainties of deviating motors", columns, rows)


if __name__ == "__main__":
    main()
