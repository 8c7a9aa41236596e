"""The latest state of every robot: motor readings, ten minutes of history, and the status of motors and components.

The store is a plain class. Time is an argument, in seconds of any one monotonic clock. The ROS thread writes and the
web server reads, therefore each call holds a lock and returns copies.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from waldo.fleet.heat_level import headroom_ratio, heat_level, urgency
from waldo.robots import motor_readings
from waldo.robots.diagnostics import CONTROL, OK, STALE, ComponentStatus, MotorStatus

STALE_S = 10.0
"""A robot, motor or component without a message for this long is stale [s]."""

BATTERY_STALE_S = 120.0
"""A charge older than this is unknown; batteries report less often than motors [s]."""

FORGET_S = 86_400.0
"""A robot without a message for this long is forgotten by default [s]."""

HISTORY_PERIOD_S = 2.0
"""Spacing of the samples in the history [s]."""

HISTORY_LENGTH = 300
"""Number of samples kept per motor: ten minutes."""

MAX_ROBOTS = 500
"""Maximum number of robots; beyond it the one with the oldest message is dropped, which bounds the memory."""

MAX_MOTORS = 128
"""Maximum number of motors per robot."""

MAX_COMPONENTS = 64
"""Maximum number of components per robot."""

NO_TEXT = "fault without a message"
"""Message of a motor that reports a level above OK and no text."""

STATES = ("following", "holding", "stopped", "stale", "unknown")
"""States of a robot: its control mode, or "stale", or "unknown" if it reports no control mode."""


Sample = tuple[float, float | None, float | None]
"""A sample of a history, rounded for display: (time [s], winding [°C], housing [°C]); None for unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorView:
    """The latest state of one motor."""

    joint: str
    status: MotorStatus
    """Level, message and a value for every motor quantity; NaN for unknown."""
    history: Sequence[Sample]
    """Oldest first."""

    @property
    def values(self) -> Mapping[str, float]:
        """Diagnostic key -> value, for every motor quantity; NaN for unknown."""
        return self.status.values

    @property
    def level(self) -> str:
        """Heat level: "cool", "warm", "hot", "over" or "unknown"."""
        return heat_level(self.values["winding_celsius"], self.values["housing_celsius"], self.values["limit_celsius"])

    @property
    def urgency(self) -> str:
        """Urgency of the time to limit: "critical", "warning" or "none"."""
        return urgency(self.values["time_to_limit_seconds"])

    @property
    def headroom_ratio(self) -> float:
        """Remaining fraction of the temperature rise to the limit; NaN for unknown."""
        return headroom_ratio(self.values["winding_celsius"], self.values["limit_celsius"])

    @property
    def order(self) -> tuple[float, float]:
        """Sorting key: shortest time to limit first, then least headroom."""
        time_s, headroom = self.values["time_to_limit_seconds"], self.headroom_ratio
        return (math.inf if math.isnan(time_s) else time_s, math.inf if math.isnan(headroom) else headroom)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotView:
    """The latest state of one robot."""

    name: str
    age_s: float
    """Time since its last message [s]."""
    stale: bool
    battery_ratio: float
    """Charge of the battery, 0 to 1; NaN for unknown."""
    motors: Sequence[MotorView]
    """In the robot's own order."""
    components: Sequence[ComponentStatus]
    """Status of the control mode, governor and cameras, in the robot's own order."""
    version: int
    """Increases with every message of any robot; a robot with a greater version has changed since."""

    @property
    def first(self) -> MotorView | None:
        """The motor with the shortest time to limit."""
        return min(self.motors, key=lambda motor: motor.order, default=None)

    @property
    def control(self) -> ComponentStatus | None:
        """The control mode and its reason; None if the robot does not report it."""
        return next((one for one in self.components if one.component == CONTROL), None)

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.stale:
            return "stale"
        mode = "" if self.control is None or self.control.level == STALE else self.control.values.get("mode", "")
        return mode if mode in STATES else "unknown"

    @property
    def reason(self) -> str:
        """Why the robot does not follow commands, as text; empty while it follows, or if it reports no reason."""
        if self.stale:
            return f"no message for {self.age_s:.0f} s"
        if self.control is None:
            return ""
        return self.control.message if self.control.level == STALE else self.control.values.get("reason", "")

    @property
    def faults(self) -> list[ComponentStatus]:
        """Motors and components with a warning or an error other than their temperature, most severe first."""
        motors = [(motor.joint, motor.status) for motor in self.motors if motor.status.level > OK]
        found = [
            ComponentStatus(component=joint, level=status.level, message=status.faults or NO_TEXT)
            for joint, status in motors
            if status.faults or not status.message
        ]
        found += [one for one in self.components if one.level > OK]
        return sorted(found, key=lambda one: -one.level)

    @property
    def order(self) -> tuple[bool, float, float, str]:
        """Sorting key: live robots first, then by the shortest time to limit."""
        time_s, headroom = (math.inf, math.inf) if self.first is None else self.first.order
        return (self.stale, time_s, headroom, self.name)


class _Robot:
    """The store's record of one robot. Statuses are stored with the time at which they were received [s]."""

    def __init__(self) -> None:
        self.received_s = -math.inf
        self.version = 0
        self.battery_ratio, self.battery_s = math.nan, -math.inf
        self.motors: dict[str, tuple[MotorStatus, float]] = {}
        self.components: dict[str, tuple[ComponentStatus, float]] = {}
        self.history: dict[str, deque[Sample]] = {}

    def add_motor(self, joint: str, status: MotorStatus, now_s: float) -> None:
        if joint not in self.motors and len(self.motors) >= MAX_MOTORS:
            return
        values = {one.key: status.values.get(one.key, math.nan) for one in motor_readings.MOTOR_QUANTITIES}
        self.motors[joint] = replace(status, values=values), now_s
        history = self.history.setdefault(joint, deque(maxlen=HISTORY_LENGTH))
        if not history or now_s - history[-1][0] >= HISTORY_PERIOD_S:
            winding, housing = (_rounded(values[key]) for key in ("winding_celsius", "housing_celsius"))
            history.append((round(now_s, 2), winding, housing))

    def add_component(self, status: ComponentStatus, now_s: float) -> None:
        if status.component in self.components or len(self.components) < MAX_COMPONENTS:
            self.components[status.component] = status, now_s

    def view(self, name: str, now_s: float, *, history: bool) -> RobotView:
        age = now_s - self.received_s
        stale = age >= STALE_S

        def age_of(received_s: float) -> float | None:
            """Return the age of a part that is stale although the robot is not; None for any other."""
            return now_s - received_s if not stale and now_s - received_s >= STALE_S else None

        motors = [
            MotorView(
                joint=joint,
                status=_motor_at(status, age_of(received_s)),
                history=tuple(self.history[joint]) if history else (),
            )
            for joint, (status, received_s) in self.motors.items()
        ]
        return RobotView(
            name=name,
            age_s=age,
            stale=stale,
            battery_ratio=self.battery_ratio if now_s - self.battery_s < BATTERY_STALE_S else math.nan,
            motors=motors,
            components=[_component_at(status, age_of(at_s)) for status, at_s in self.components.values()],
            version=self.version,
        )


def _rounded(value: float) -> float | None:
    """Return a temperature for display; None if it is unknown."""
    return round(value, 2) if math.isfinite(value) else None


def _motor_at(status: MotorStatus, stale_s: float | None) -> MotorStatus:
    """Return a motor's status; without values if none was received for `stale_s` [s]."""
    if stale_s is None:
        return status
    return MotorStatus(
        level=STALE, message=f"no reading for {stale_s:.0f} s", values=dict.fromkeys(status.values, math.nan)
    )


def _component_at(status: ComponentStatus, stale_s: float | None) -> ComponentStatus:
    """Return a component's status; stale if none was received for `stale_s` [s]."""
    if stale_s is None:
        return status
    message = f"no status for {stale_s:.0f} s; the last one was: {status.message}"
    return ComponentStatus(component=status.component, level=STALE, message=message)


class FleetStore:
    """The latest state and the history of every robot."""

    def __init__(self, forget_s: float = FORGET_S) -> None:
        """Start empty; a robot without a message for `forget_s` [s] is forgotten."""
        self._lock, self._forget_s = Lock(), forget_s
        self._robots: dict[str, _Robot] = {}
        self._version = 0

    def add_motors(self, robot: str, motors: Mapping[str, MotorStatus], now_s: float) -> None:
        """Store the statuses of a robot's motors, as `waldo.robots.diagnostics.from_message` returns them."""
        with self._lock:
            record = self._record(robot, now_s)
            for joint, status in motors.items():
                record.add_motor(joint, status, now_s)

    def add_components(self, robot: str, components: Mapping[str, ComponentStatus], now_s: float) -> None:
        """Store the statuses of a robot's components, as `components_from_message` returns them."""
        with self._lock:
            record = self._record(robot, now_s)
            for status in components.values():
                record.add_component(status, now_s)

    def add_battery(self, robot: str, ratio: float, now_s: float) -> None:
        """Store the charge of a robot's battery, 0 to 1; any other value is unknown."""
        with self._lock:
            record = self._record(robot, now_s)
            record.battery_ratio, record.battery_s = ratio if 0 <= ratio <= 1 else math.nan, now_s

    def forget(self, robot: str, now_s: float) -> bool:
        """Forget a robot, which returns with its next message; returns False if it is unknown or not stale."""
        with self._lock:
            record = self._robots.get(robot)
            if record is None or now_s - record.received_s < STALE_S:
                return False
            del self._robots[robot]
            return True

    def robots(self, now_s: float, *, history: bool = True) -> list[RobotView]:
        """Return every robot, the one with the shortest time to limit first; `history=False` omits the histories."""
        with self._lock:
            for name in [name for name, one in self._robots.items() if now_s - one.received_s >= self._forget_s]:
                del self._robots[name]
            views = [record.view(name, now_s, history=history) for name, record in self._robots.items()]
        return sorted(views, key=lambda view: view.order)

    def _record(self, robot: str, now_s: float) -> _Robot:
        """Return a robot's record, marked as changed now."""
        if robot not in self._robots and len(self._robots) >= MAX_ROBOTS:
            del self._robots[min(self._robots, key=lambda name: self._robots[name].received_s)]
        record = self._robots.setdefault(robot, _Robot())
        self._version += 1
        record.version, record.received_s = self._version, now_s
        return record
