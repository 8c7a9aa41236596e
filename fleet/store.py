"""What is known of every robot: the latest motor readings, ten minutes of history, and who will hit a limit first.

A plain class: time is passed in, as seconds of any one clock that only goes forward. The ROS thread writes and the web
server reads, so each call holds a lock; what is handed out is a copy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from waldo.fleet.heat_level import headroom_ratio, heat_level, urgency
from waldo.robots import motor_readings
from waldo.robots.diagnostics import MotorStatus

STALE_S = 10.0
"""A robot that has not spoken for this long is stale [s]."""

HISTORY_PERIOD_S = 2.0
"""Spacing of the history's samples [s]."""

HISTORY_LENGTH = 300
"""Samples kept of each motor: ten minutes."""

MAX_ROBOTS = 500
"""Robots kept: beyond it the one silent longest is forgotten, so that made-up names cannot fill memory."""

MAX_MOTORS = 128
"""Motors kept of one robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorView:
    """One motor as it was last heard of; NaN where the robot does not tell."""

    joint: str
    values: Mapping[str, float]
    """Diagnostic key -> value, for every motor quantity."""
    history: Sequence[tuple[float, float, float]]
    """Oldest first: (time [s], winding [°C], housing [°C])."""

    @property
    def level(self) -> str:
        """Heat level: cool, warm, hot, over or unknown."""
        return heat_level(self.values["winding_celsius"], self.values["housing_celsius"], self.values["limit_celsius"])

    @property
    def urgency(self) -> str:
        """How near the limit is in time: critical, warning or none."""
        return urgency(self.values["time_to_limit_seconds"])

    @property
    def headroom_ratio(self) -> float:
        """Share of the rise to the limit that is left; NaN for unknown."""
        return headroom_ratio(self.values["winding_celsius"], self.values["limit_celsius"])

    @property
    def order(self) -> tuple[float, float]:
        """Sorting key: the motor that hits its limit first comes first; among those that never do, the hottest."""
        left, headroom = self.values["time_to_limit_seconds"], self.headroom_ratio
        return (math.inf if math.isnan(left) else left, math.inf if math.isnan(headroom) else headroom)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotView:
    """One robot as it was last heard of."""

    name: str
    age_s: float
    """Time since its last message [s]."""
    stale: bool
    battery_ratio: float
    """Charge of the battery, 0..1; NaN for unknown."""
    motors: Sequence[MotorView]
    """In the robot's own order."""
    version: int
    """Grows with every message of any robot: what changed since a version is what has a greater one."""

    @property
    def first(self) -> MotorView | None:
        """The motor that will hit its limit first."""
        return min(self.motors, key=lambda motor: motor.order, default=None)

    @property
    def order(self) -> tuple[bool, float, float, str]:
        """Sorting key: live robots first, then who hits a limit first."""
        left, headroom = (math.inf, math.inf) if self.first is None else self.first.order
        return (self.stale, left, headroom, self.name)


class _Robot:
    """The store's record of one robot."""

    def __init__(self) -> None:
        self.heard_s = -math.inf
        self.version = 0
        self.battery_ratio = math.nan
        self.latest: dict[str, Mapping[str, float]] = {}
        self.history: dict[str, deque[tuple[float, float, float]]] = {}

    def add(self, joint: str, values: Mapping[str, float], now_s: float) -> None:
        if joint not in self.latest and len(self.latest) >= MAX_MOTORS:
            return
        complete = {one.key: values.get(one.key, math.nan) for one in motor_readings.MOTOR_QUANTITIES}
        self.latest[joint] = complete
        history = self.history.setdefault(joint, deque(maxlen=HISTORY_LENGTH))
        if not history or now_s - history[-1][0] >= HISTORY_PERIOD_S:
            history.append((now_s, complete["winding_celsius"], complete["housing_celsius"]))

    def view(self, name: str, now_s: float, *, history: bool) -> RobotView:
        age = now_s - self.heard_s
        motors = [
            MotorView(joint=joint, values=values, history=tuple(self.history[joint]) if history else ())
            for joint, values in self.latest.items()
        ]
        return RobotView(
            name=name,
            age_s=age,
            stale=age >= STALE_S,
            battery_ratio=self.battery_ratio,
            motors=motors,
            version=self.version,
        )


class FleetStore:
    """The latest readings and the history of every robot that has been heard of."""

    def __init__(self) -> None:
        """Start knowing nobody."""
        self._lock = Lock()
        self._robots: dict[str, _Robot] = {}
        self._version = 0

    def add_motors(self, robot: str, motors: Mapping[str, MotorStatus], now_s: float) -> None:
        """Take joint -> key -> value of a robot, as `waldo.robots.diagnostics.from_message` gives it."""
        with self._lock:
            record = self._heard(robot, now_s)
            for joint, status in motors.items():
                record.add(joint, status.values, now_s)

    def add_battery(self, robot: str, ratio: float, now_s: float) -> None:
        """Take the charge of a robot's battery, 0..1; anything else is unknown."""
        with self._lock:
            self._heard(robot, now_s).battery_ratio = ratio if 0 <= ratio <= 1 else math.nan

    def robots(self, now_s: float, *, history: bool = True) -> list[RobotView]:
        """Return every robot, the one that will hit a limit first at the front; `history=False` spares its copy."""
        with self._lock:
            views = [record.view(name, now_s, history=history) for name, record in self._robots.items()]
        return sorted(views, key=lambda view: view.order)

    def _heard(self, robot: str, now_s: float) -> _Robot:
        if robot not in self._robots and len(self._robots) >= MAX_ROBOTS:
            del self._robots[min(self._robots, key=lambda name: self._robots[name].heard_s)]
        record = self._robots.setdefault(robot, _Robot())
        self._version += 1
        record.version, record.heard_s = self._version, now_s
        return record
