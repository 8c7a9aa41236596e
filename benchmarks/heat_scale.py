"""Cost of heat monitoring: observer and forecast of ten thousand motors, one robot, and simulated worlds.

Usage: uv run python benchmarks/heat_scale.py [--motors 10000]

One core. The motors have all constants of the library; each step includes the readings of a housing sensor. The monitor
of one robot runs at the robot node's 10 Hz. The simulation has 1 or 50 worlds.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from unittest import mock

import numpy as np
import tyro
from workload import print_table

from waldo.robots.description import load_robot
from waldo.robots.driver import MotorSensors
from waldo.robots.motors.library import MOTORS
from waldo.robots.thermal import forecast
from waldo.robots.thermal.governor import Governor
from waldo.robots.thermal.monitor import HeatMonitor
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.sim.heat import KEPT_TICKS
from waldo.sim.world import World
from waldo.typing import Array

MONITOR_HZ = 10
"""Rate of the monitor [Hz]."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the time of each step, the median of several rounds."""

    motors: int = 10_000
    """Number of motors that are monitored together."""
    rounds: int = 15
    """Rounds per figure."""


def timed(call: Callable[[], object], rounds: int) -> float:
    """Return the median duration of a call after one warm-up [s]."""
    call()
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def fleet_rows(config: Config) -> list[list[str]]:
    """Measure observer, forecast and governor of many motors."""
    constants = [m.thermal for m in MOTORS.values() if m.thermal is not None]
    n = config.motors
    observer = HeatObserver(TwoNodeModel([constants[k % len(constants)] for k in range(n)]))
    load = Load(np.random.default_rng(0).uniform(0, 10, n), np.zeros(n))
    limit = np.full(n, 80.0)
    governor = Governor(limit)

    def step() -> None:
        observer.step(load, 1 / MONITOR_HZ, {"housing": np.round(observer.housing_c)})

    def predict() -> None:
        grid = forecast.time_grid()
        trajectory = forecast.predict(observer.model, observer.mean, observer.covariance, load, 0.15, grid)
        forecast.time_to_limit(trajectory, limit, observer.winding_c)

    parts = {"observer": step, "forecast p10/p50/p90": predict}
    costs = {name: timed(call, config.rounds) for name, call in parts.items()}
    costs["both"] = sum(costs.values())
    costs["governor"] = timed(lambda: governor.step(observer, load, 1 / MONITOR_HZ), config.rounds)
    return [
        [f"{n:,} motors: {name}", f"{cost * 1e3:.1f} ms", f"{cost * MONITOR_HZ:.0%} of a core at {MONITOR_HZ} Hz"]
        for name, cost in costs.items()
    ]


def nothing(*_: object) -> None:
    """Replace the heat model; a `Mock` would cost more than the model itself."""


def simulation_rows(config: Config) -> list[list[str]]:
    """Measure the simulation with and without heat, alternately, over whole update periods of the heat."""
    robot = load_robot("so101")
    rows: list[list[str]] = []
    for worlds in (1, 50):
        world = World("lift", worlds=worlds, threads=1)
        target = np.broadcast_to(robot.home, (worlds, len(robot.home)))
        ticks = KEPT_TICKS * (10 if worlds == 1 else 1)

        def period(world: World = world, target: Array = target, ticks: int = ticks) -> None:
            for _ in range(ticks):
                world.step(target)

        costs: dict[str, list[float]] = {"with": [], "without": []}
        for _ in range(2 * config.rounds):
            costs["with"].append(timed(period, 1) / ticks)
            with mock.patch.object(world.motors, "add", nothing):
                costs["without"].append(timed(period, 1) / ticks)
        total = median(costs["with"])
        heat = total - median(costs["without"])
        text = f"{heat / total:.1%} of a step of {total * 1e3:.3f} ms"
        rows.append([f"{worlds} simulated worlds: heat and duty", f"{heat * 1e6:.1f} µs", text])
    return rows


def robot_rows(config: Config) -> list[list[str]]:
    """Measure the monitor of one robot."""
    robot = load_robot("so101")
    monitor, still = HeatMonitor(robot), np.zeros(len(robot.joints))
    sensors = dataclasses.replace(
        MotorSensors.unknown(len(still)), current_a=still + 0.3, winding_c=still + 30.0, housing_c=still + 28.0
    )
    cost = timed(lambda: monitor.step(sensors, still, 1 / MONITOR_HZ, 0), 20 * config.rounds)
    text = f"{cost * MONITOR_HZ:.1%} of a core at {MONITOR_HZ} Hz"
    return [["one robot: observer, forecast, governor", f"{cost * 1e3:.3f} ms", text]]


def main() -> None:
    """Measure on one core and print the table."""
    config = tyro.cli(Config, description=__doc__)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = fleet_rows(config) + robot_rows(config) + simulation_rows(config)
    print_table("Cost of heat monitoring, one core", ["part", "time per step", "load"], rows)


if __name__ == "__main__":
    main()
