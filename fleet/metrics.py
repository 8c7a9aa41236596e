"""The fleet as Prometheus metrics, read from the store at every scrape.

Values are in base units. The samples of a stale robot are omitted, therefore Prometheus marks their series as stale;
`waldo_robot_state` and `waldo_robot_last_seen_timestamp_seconds` remain, for alerts. Levels are numbers as in
`DiagnosticStatus`: 0 ok, 1 warning, 2 error, 3 stale. Reasons and faults are labels of two info metrics, without their
figures and limited in number, because every further text creates a series.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from waldo.fleet.store import STATES
from waldo.robots import motor_readings
from waldo.robots.diagnostics import level_name

if TYPE_CHECKING:
    from waldo.fleet.store import FleetStore, MotorView, RobotView
    from waldo.robots.motor_readings import MotorQuantity

SLICE_SAMPLES = 50
"""Number of samples that are formatted at a time, which takes milliseconds: other requests are answered in between."""

LEVELS = "0 ok, 1 warning, 2 error, 3 stale"
"""Help text of the status levels."""

MAX_TEXTS = 500
"""Maximum number of different reasons and faults that become labels; further ones become `OTHER_TEXT`."""

MAX_TEXT_LENGTH = 160
"""Maximum length of a label's text."""

OTHER_TEXT = "other, see the fleet page"
"""Label of a text beyond `MAX_TEXTS`."""

FIGURE = re.compile(r"(?<![A-Za-z_\d.])[-+]?\d+(\.\d+)?")
"""A number that is not part of a name."""


class LabelTexts:
    """Turns messages into labels: their figures are replaced, and the number of different labels is limited."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, message: str) -> str:
        """Return the label of a message."""
        label = FIGURE.sub("…", message)[:MAX_TEXT_LENGTH]
        if label not in self._known and len(self._known) >= MAX_TEXTS:
            return OTHER_TEXT
        self._known.add(label)
        return label


class FleetCollector(Collector):
    """The collector that prometheus_client calls at each scrape."""

    def __init__(
        self,
        store: FleetStore,
        *,
        clock: Callable[[], float],
        epoch: Callable[[], float],
        site: str = "",
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Register with `registry`.

        Args:
            store: The robots.
            clock: The store's clock [s].
            epoch: The clock of timestamps [s since the epoch].
            site: Value of the label `site`; without it the label is omitted.
            registry: Where to register; None to register nowhere.
        """
        self._store, self._clock, self._epoch = store, clock, epoch
        self._site = {"site": site} if site else {}
        self._label_text = LabelTexts()
        if registry is not None:
            registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Return no metrics: nothing is measured when the collector is registered."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric family."""
        robots = self._store.robots(self._clock(), history=False)
        live = [robot for robot in robots if not robot.stale]
        yield from self._known_robots(robots)
        yield from self._states(robots)
        yield self._faults(live)
        yield from _live_robots(live)
        yield from _joints(live)

    def _known_robots(self, robots: list[RobotView]) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily("waldo_robot_info", "1 for each known robot", labels=["robot", *self._site])
        seen = GaugeMetricFamily(
            "waldo_robot_last_seen_timestamp_seconds", "Time of the robot's last message", labels=["robot"]
        )
        now = self._epoch()
        for robot in robots:
            info.add_metric([robot.name, *self._site.values()], 1)
            seen.add_metric([robot.name], now - robot.age_s)
        yield from (info, seen)

    def _states(self, robots: list[RobotView]) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily(
            "waldo_robot_state", "1 for the robot's state, 0 for each other one", labels=["robot", "state"]
        )
        reasons = GaugeMetricFamily(
            "waldo_robot_state_reason_info",
            "1 for the reason why the robot does not follow commands",
            labels=["robot", "state", "reason"],
        )
        for robot in robots:
            for state in STATES:
                states.add_metric([robot.name, state], state == robot.state)
            if robot.reason:
                reasons.add_metric([robot.name, robot.state, self._label_text(robot.reason)], 1)
        yield from (states, reasons)

    def _faults(self, robots: list[RobotView]) -> GaugeMetricFamily:
        faults = GaugeMetricFamily(
            "waldo_robot_fault_info",
            "1 for each warning or error of a motor or component other than temperature",
            labels=["robot", "component", "level", "fault"],
        )
        # A motor and a component may have the same name: a series must occur once.
        found = {
            (robot.name, one.component, level_name(one.level), self._label_text(one.message)): None
            for robot in robots
            for one in robot.faults
        }
        for labels in found:
            faults.add_metric(labels, 1)
        return faults


def _live_robots(robots: list[RobotView]) -> Iterator[GaugeMetricFamily]:
    charge = GaugeMetricFamily("waldo_robot_battery_charge_ratio", "Charge of the battery, 0 to 1", labels=["robot"])
    status = GaugeMetricFamily(
        "waldo_component_status_level", f"Status of a component: {LEVELS}", labels=["robot", "component"]
    )
    for robot in robots:
        if not math.isnan(robot.battery_ratio):
            charge.add_metric([robot.name], robot.battery_ratio)
        for one in robot.components:
            status.add_metric([robot.name, one.component], one.level)
    yield from (charge, status)


def _joints(robots: list[RobotView]) -> Iterator[GaugeMetricFamily]:
    motors = [(robot.name, motor) for robot in robots for motor in robot.motors]
    for name, quantities in joint_metrics().items():
        family = _family(name, "; ".join(one.description for one in quantities), quantities[0].labels)
        for quantity in quantities:
            for robot, motor in motors:
                _add(family, robot, motor, motor.values[quantity.key], quantity.labels.values())
        yield family
    headroom = _family(
        "thermal_headroom_ratio", "remaining fraction of the rise from 25 °C to the limit, 0 at the limit"
    )
    status = _family("status_level", f"status of a motor: {LEVELS}")
    for robot, motor in motors:
        _add(headroom, robot, motor, motor.headroom_ratio)
        _add(status, robot, motor, motor.status.level)
    yield from (headroom, status)


async def metrics_text(collector: FleetCollector) -> bytes:
    """Return the metrics in Prometheus' text format; other tasks run after every `SLICE_SAMPLES` samples."""
    found: list[bytes] = []
    for family in collector.collect():
        await asyncio.sleep(0)
        samples = family.samples
        for start in range(0, max(1, len(samples)), SLICE_SAMPLES):
            family.samples = samples[start : start + SLICE_SAMPLES]
            text = generate_latest(_OneFamily(family))
            # The first slice has the lines HELP and TYPE, which a metric has once.
            found.append(text.split(b"\n", 2)[2] if start else text)
            await asyncio.sleep(0)
    return b"".join(found)


class _OneFamily(CollectorRegistry):
    """A registry of one metric."""

    def __init__(self, family: GaugeMetricFamily) -> None:
        super().__init__()
        self._family = family

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._family


def joint_metrics() -> dict[str, list[MotorQuantity]]:
    """Return metric name after `waldo_joint_` -> the quantities that it exposes."""
    found: dict[str, list[MotorQuantity]] = {}
    for quantity in motor_readings.MOTOR_QUANTITIES:
        if quantity.metric:
            found.setdefault(quantity.metric, []).append(quantity)
    return found


def _family(name: str, description: str, labels: Mapping[str, str] | None = None) -> GaugeMetricFamily:
    text = description[:1].upper() + description[1:]
    return GaugeMetricFamily(f"waldo_joint_{name}", text, labels=["robot", "joint", *(labels or {})])


def _add(family: GaugeMetricFamily, robot: str, motor: MotorView, value: float, labels: Iterable[str] = ()) -> None:
    """Add one sample; an unknown value has no sample."""
    if not math.isnan(value):
        family.add_metric([robot, motor.joint, *labels], value)
