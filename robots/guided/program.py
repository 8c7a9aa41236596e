"""The program of motions that identifies a motor's thermal constants: rest, search a load, hold it, swing, cool down.

::

    REST      stand still: the sensor shows the temperature of the air or of earlier work
    SEARCH    move slowly over the range and learn the torque that each position needs
    HOLD      hold the position whose torque is nearest to the requested load, and not above it
    COOL      stand at the position that needs the least torque
    SWING     move to and fro: friction and iron losses
    COOL

SEARCH, HOLD and SWING end early when the motor is within the margin of its limit, HOLD and SWING also when it needs
more torque than is allowed. SEARCH turns back at an obstacle. The program is a plain class with time passed in; it only
returns targets, which pass through the robot's safety chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from waldo.errors import InvalidValueError
from waldo.robots.description import Joint


class Stage(Enum):
    """Parts of the program, in order; the values are shown."""

    REST = "rest"
    SEARCH = "searching a load"
    HOLD = "holding"
    COOL = "cooling down"
    SWING = "swinging"


STAGES = (Stage.REST, Stage.SEARCH, Stage.HOLD, Stage.COOL, Stage.SWING, Stage.COOL)
"""The stages in their order."""

RATIOS = (0.05, 0.0, 0.35, 0.2, 0.2, 0.2)
"""Fraction of the program's time of each of `STAGES`; SEARCH has a fixed duration."""

MIN_SEARCH_S = 24.0
"""Shortest duration of SEARCH, in which the range is traversed once to either side and back [s]."""

MOVE_RAD_S = 0.3
"""Largest speed of SEARCH, and speed between the positions of two stages [rad/s]."""

SWING_SPEED_RATIO = 0.3
"""Peak speed of SWING as a fraction of the joint's largest commanded speed."""

MAX_SWING_RAD_S = 3.0
"""Largest angular frequency of SWING [rad/s]."""

TORQUE_FILTER_S = 1.0
"""Time constant of the mean torque that is compared with the allowed one [s]; accelerations are shorter."""

BLOCKED, BLOCKED_S = 0.1, 0.3
"""Distance from the target [rad] and its duration [s] after which a joint that needs more than the allowed torque is
blocked."""
OVERLOAD_RATIO = 1.3
"""Ratio of mean torque to requested load at which a stage ends."""

MIN_ANGLE = 0.02
"""Smallest range of motion to either side [rad]."""

DEFAULT_LOAD_RATIO = 0.25
"""Load as a fraction of the peak torque if neither a load nor a rated torque is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedConfig:
    """Limits of a guided experiment."""

    angle_rad: float = 0.4
    """Largest distance of the joint from its position at the start [rad]."""
    load_nm: float | None = None
    """Torque to hold [N·m]; the motor's rated torque by default, otherwise a quarter of its peak torque."""
    margin_k: float = 15.0
    """The motor is no longer loaded within this margin of its temperature limit [K]."""
    minutes: float = 25.0
    """Duration of the program [min]. The heat of a servo needs several minutes to reach its case."""

    def __post_init__(self) -> None:
        for name, low, high in (("angle_rad", MIN_ANGLE, math.pi), ("margin_k", 5.0, 60.0), ("minutes", 2.0, 240.0)):
            if not low <= getattr(self, name) <= high:
                raise InvalidValueError(name, getattr(self, name), f"{low:g} to {high:.3g}")
        if self.load_nm is not None and not self.load_nm > 0:
            raise InvalidValueError("load_nm", self.load_nm, "a number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the program is given in each cycle, of its one joint."""

    position: float
    """Position [rad]."""
    torque_nm: float
    """Torque of the motor [N·m]; NaN if the motor reports none."""
    motor_c: float
    """Highest known temperature of the motor: estimated winding, or a sensor [°C]."""


class Program:
    """The program for one joint."""

    def __init__(self, joint: Joint, config: GuidedConfig, start: float, limit_c: float) -> None:
        """Prepare the program around the position `start` [rad] for a motor with a temperature limit [°C].

        Raises:
            InvalidValueError: If the joint limits leave no room at this position.
        """
        self.joint, self.config = joint, config
        self.low, self.high = max(joint.lower, start - config.angle_rad), min(joint.upper, start + config.angle_rad)
        if self.high - self.low < 2 * MIN_ANGLE:
            expected = f"a position at least {MIN_ANGLE:g} rad inside {joint.lower:g} to {joint.upper:g}"
            raise InvalidValueError(f"position of {joint.name}", round(start, 3), expected)
        self.load_nm = requested_load(joint, config)
        """Requested load [N·m]."""
        self.stop_c = limit_c - config.margin_k
        """Temperature at which the motor is no longer loaded [°C]."""
        # A sine over 2π needs its largest speed, angle times 2π, at the start.
        self.search_s = max(MIN_SEARCH_S, 2 * math.pi * config.angle_rad / MOVE_RAD_S)
        """Duration of SEARCH [s]."""
        total = config.minutes * 60 - self.search_s
        search = Stage.SEARCH
        self.durations = [self.search_s if s is search else r * total for s, r in zip(STAGES, RATIOS, strict=True)]
        """Longest duration of each stage [s]."""
        self.index = 0
        """Index of the present stage; the number of stages once the program has ended."""
        self.notes: list[str] = []
        """Why stages ended early, as text."""
        self._start, self._target, self._in_stage_s = start, start, 0.0
        self._torque: float | None = None
        self._blocked_s = 0.0
        self._found: list[tuple[float, float]] = []
        """Position [rad] and torque [N·m] during SEARCH."""

    @property
    def stage(self) -> Stage | None:
        """The present stage; None once the program has ended."""
        return STAGES[self.index] if self.index < len(STAGES) else None

    @property
    def elapsed_s(self) -> float:
        """Time for progress displays [s]: that of the stages before, in full, and that in the present one."""
        return sum(self.durations[: self.index]) + self._in_stage_s

    def step(self, measured: Measured, dt_s: float) -> float | None:
        """Advance by `dt_s` [s] and return the target of the joint [rad]; None once the program has ended."""
        self._in_stage_s += dt_s
        self._filter(measured.torque_nm, dt_s)
        stage = self.stage
        if stage is None:
            return None
        if stage is Stage.SEARCH and math.isfinite(measured.torque_nm):
            self._found.append((measured.position, abs(measured.torque_nm)))
            self._turn_back(measured, dt_s)
        reason = self._reason_to_end(stage, measured)
        if reason:
            self.notes.append(reason)
        if reason or self._in_stage_s >= self.durations[self.index]:
            self.index, self._in_stage_s = self.index + 1, 0.0
            stage = self.stage
            if stage is None:
                return None
        goal = self._goal(stage)
        # SEARCH and SWING are smooth paths; the way to their start and to the other stages is traversed slowly.
        step = MOVE_RAD_S * dt_s if stage is not Stage.SWING else self._swing_speed() * dt_s
        self._target += min(max(goal - self._target, -step), step)
        return self._target

    def _filter(self, torque_nm: float, dt_s: float) -> None:
        if math.isfinite(torque_nm):
            # A joint that is still arriving may need more for a moment.
            before = min(abs(torque_nm), self.load_nm) if self._torque is None else self._torque
            self._torque = before + min(1.0, dt_s / TORQUE_FILTER_S) * (abs(torque_nm) - before)

    def _turn_back(self, measured: Measured, dt_s: float) -> None:
        """End the range where SEARCH meets an obstacle: the joint needs too much torque and does not follow."""
        is_over = abs(measured.torque_nm) > OVERLOAD_RATIO * self.load_nm
        is_blocked = is_over and abs(self._target - measured.position) > BLOCKED
        self._blocked_s = self._blocked_s + dt_s if is_blocked else 0.0
        if self._blocked_s < BLOCKED_S:
            return
        self._blocked_s = 0.0
        if self._target > measured.position:
            self.high = max(self._start, min(self.high, measured.position))
        else:
            self.low = min(self._start, max(self.low, measured.position))
        self.notes.append(f"the range ends at an obstacle at {measured.position:.2f} rad")

    def _reason_to_end(self, stage: Stage, measured: Measured) -> str:
        """Return why the present stage ends early, as text; empty if it does not."""
        if stage not in (Stage.SEARCH, Stage.HOLD, Stage.SWING):
            return ""
        if measured.motor_c >= self.stop_c:
            return f"{stage.value} ended at {measured.motor_c:.0f} °C, {self.config.margin_k:g} K below the limit"
        # On the way to the position that is held, the load may be higher for a moment.
        way = stage is Stage.HOLD and abs(self._target - self.hold_position) > 1e-6
        if way or stage is Stage.SEARCH:
            self._torque = None
        elif self._torque is not None and self._torque > OVERLOAD_RATIO * self.load_nm:
            return f"{stage.value} ended at {self._torque:.2f} N·m; the requested load is {self.load_nm:.2f} N·m"
        return ""

    def _goal(self, stage: Stage) -> float:
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        if stage is Stage.SEARCH:
            # start -> high -> low -> start, within the range.
            turns = self._in_stage_s / self.search_s
            return min(max(self._start + self.config.angle_rad * math.sin(2 * math.pi * turns), self.low), self.high)
        if stage is Stage.HOLD:
            return self.hold_position
        if stage is Stage.COOL:
            return self.rest_position
        if stage is Stage.SWING:
            return middle + half * math.sin(self._frequency() * self._in_stage_s)
        return self._start

    def _frequency(self) -> float:
        half = max((self.high - self.low) / 2, MIN_ANGLE)
        return min(MAX_SWING_RAD_S, SWING_SPEED_RATIO * self.joint.velocity / half)

    def _swing_speed(self) -> float:
        return 1.5 * self._frequency() * (self.high - self.low) / 2

    @property
    def hold_position(self) -> float:
        """Position whose torque is nearest to the requested load and not above it [rad]."""
        allowed = [(torque, position) for position, torque in self._found if torque <= self.load_nm]
        return max(allowed)[1] if allowed else self.rest_position

    @property
    def rest_position(self) -> float:
        """Position that needs the least torque [rad]."""
        return min(self._found, key=lambda pair: pair[1])[0] if self._found else self._start


def requested_load(joint: Joint, config: GuidedConfig) -> float:
    """Return the load to hold [N·m].

    Raises:
        InvalidValueError: If the load is above the torque limit of the joint.
    """
    motor = joint.motor
    load = config.load_nm or motor.rated_torque_nm or DEFAULT_LOAD_RATIO * motor.need("peak_torque_nm", "the load")
    if load > joint.effort:
        raise InvalidValueError("load_nm", load, f"at most {joint.effort:g}, the torque limit of {joint.name}")
    return load
