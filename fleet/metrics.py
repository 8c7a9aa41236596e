"""The fleet as Prometheus metrics, read from the store at every scrape.

Names are in base units. A stale robot's joints are left out, so that Prometheus marks their series as stale;
`waldo_robot_last_seen_timestamp_seconds` stays, and is what an alert looks at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from waldo.fleet.store import FleetStore, MotorView, RobotView

JOINT_METRICS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "winding_celsius": (
        "temperature_celsius",
        "Temperature of a motor's winding or housing, as the robot reports it",
        {"node": "winding", "source": "reported"},
    ),
    "housing_celsius": ("temperature_celsius", "", {"node": "housing", "source": "reported"}),
    "limit_celsius": ("temperature_limit_celsius", "Limit of the winding's temperature", {}),
    "time_to_limit_seconds": (
        "time_to_limit_seconds",
        "Time until the limit if the recent load goes on; +Inf for never",
        {"quantile": "0.5"},
    ),
    "duty_ratio": ("duty_ratio", "Share of the last ten minutes under load (IEC 60034-1)", {"window": "10m"}),
    "utilization_ratio": ("torque_utilization_ratio", "Thermal-equivalent torque over rated torque", {}),
    "current_amperes": ("current_amperes", "Motor current", {}),
    "voltage_volts": ("voltage_volts", "Supply voltage", {}),
    "torque_newton_metres": ("torque_newton_metres", "Torque at the joint", {}),
}
"""Diagnostic key -> metric name after `waldo_joint_`, help, labels beside robot and joint."""


class FleetCollector(Collector):
    """What prometheus_client asks at each scrape."""

    def __init__(
        self,
        store: FleetStore,
        *,
        clock: Callable[[], float],
        epoch: Callable[[], float],
        site: str = "",
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Take the store, its clock, the clock of timestamps [s since the epoch] and where the robots stand."""
        self._store, self._clock, self._epoch, self._site = store, clock, epoch, site
        if registry is not None:
            registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name no metric beforehand: nothing is measured when the collector is registered."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric family."""
        robots = self._store.robots(self._clock(), history=False)
        yield from self._of_robots(robots)
        yield from _of_joints([robot for robot in robots if not robot.stale])

    def _of_robots(self, robots: list[RobotView]) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily("waldo_robot_info", "1 for each known robot", labels=["robot", "model", "site"])
        seen = GaugeMetricFamily(
            "waldo_robot_last_seen_timestamp_seconds", "When the robot was last heard", labels=["robot"]
        )
        charge = GaugeMetricFamily("waldo_robot_battery_charge_ratio", "Charge of the battery, 0..1", labels=["robot"])
        now = self._epoch()
        for robot in robots:
            info.add_metric([robot.name, "", self._site], 1)
            seen.add_metric([robot.name], now - robot.age_s)
            if not robot.stale and not math.isnan(robot.battery_ratio):
                charge.add_metric([robot.name], robot.battery_ratio)
        yield from (info, seen, charge)


def _of_joints(robots: list[RobotView]) -> Iterator[GaugeMetricFamily]:
    families: dict[str, GaugeMetricFamily] = {}
    motors = [(robot.name, motor) for robot in robots for motor in robot.motors]
    for key, (name, text, labels) in JOINT_METRICS.items():
        family = families.setdefault(name, _family(name, text, tuple(labels)))
        for robot, motor in motors:
            _add(family, robot, motor, motor.values[key], tuple(labels.values()))
    headroom = _family(
        "thermal_headroom_ratio", "Share of the rise from 25 degC to the limit that is left; 0 at the limit", ()
    )
    for robot, motor in motors:
        _add(headroom, robot, motor, motor.headroom_ratio, ())
    yield from (*families.values(), headroom)


def _family(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"waldo_joint_{name}", text, labels=["robot", "joint", *labels])


def _add(family: GaugeMetricFamily, robot: str, motor: MotorView, value: float, labels: tuple[str, ...]) -> None:
    """Add one sample; a value nobody knows is left out, never written as a number."""
    if not math.isnan(value):
        family.add_metric([robot, motor.joint, *labels], value)
