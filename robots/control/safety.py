"""The safety chain between a command and a robot, called once per control cycle with the time passed in.

The robot follows only fresh, finite and plausible commands; otherwise it holds its position and reports the reason. A
stop is latched: only enabling the robot ends it. Torque stays on in every mode, so that a load is never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError
from waldo.robots.control.limits import MotionLimiter
from waldo.robots.description import Joint, Robot
from waldo.robots.thermal.limits import HOLD_HYSTERESIS_K, HOLD_MARGIN_K
from waldo.typing import Array


class Mode(Enum):
    """How the robot reacts to commands."""

    HOLDING = "holding"
    """Stands still and follows as soon as a valid command arrives."""
    FOLLOWING = "following"
    """Follows commands within its limits."""
    STOPPED = "stopped"
    """Stands still until it is enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyConfig:
    """Thresholds of the safety chain."""

    timeout_s: float = 0.2
    """Hold if the last command is older than this [s]."""
    state_timeout_s: float = 0.1
    """Hold if the robot's state is older than this [s]."""
    max_engage_distance: float = 1.0
    """Hold if the first command after a hold is farther from the robot than this [rad or m]; GELLO uses 1.0 rad."""
    max_command_excess: float = 1.0
    """Hold if a command exceeds a joint limit by more than this; a smaller excess is clipped [rad or m]."""
    max_state_excess: float = 0.15
    """Stop if a joint is beyond its limits by more than this: an external force moves it [rad or m]."""
    heat_margin_k: float = HOLD_MARGIN_K
    """Hold if a winding is within this margin of its limit [K]. Smaller than the governor's margin, so that the robot
    slows down first; above 0, so that it holds before the drive shuts down."""
    heat_hysteresis_k: float = HOLD_HYSTERESIS_K
    """Additional margin that a winding must reach before the robot follows again [K]."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValueError(field.name, value, "a finite number above 0")


VELOCITY_FILTER_S = 0.02
"""Time constant of the filter of the target's velocity [s]: a device's clock and encoder are coarse."""
MIN_COMMAND_INTERVAL_S = 1e-3
"""Shortest interval between two commands from which a velocity is computed [s]."""
MAX_OVERSHOOT = 0.05
"""Largest overshoot over a moving target that stops instantly [rad or m]; the cost of a small lag."""
MAX_CLOCK_LEAD_S = 0.1
"""A command or state further in the future than this shows that a clock was set back [s]."""

NOT_COMMANDED = "waiting for a command"
"""Reason of a hold before the first command."""
RELEASED = "operator released control"
"""Reason of a hold after an empty command."""


@dataclass(frozen=True, slots=True)
class Status:
    """Mode of the safety chain."""

    mode: Mode
    reason: str
    """Why the robot does not follow; empty while it follows."""

    @property
    def is_fault(self) -> bool:
        """Whether the robot does not follow although the operator wants it to."""
        return self.mode is not Mode.FOLLOWING and self.reason not in (NOT_COMMANDED, RELEASED)

    def __str__(self) -> str:
        return f"{self.mode.value}: {self.reason}" if self.reason else self.mode.value


class SafetyChain:
    """Convert commands into setpoints that are safe to send to a robot."""

    def __init__(self, robot: Robot, config: SafetyConfig | None = None) -> None:
        self.robot = robot
        self.config = config or SafetyConfig()
        self.status = Status(Mode.HOLDING, NOT_COMMANDED)
        """Mode and reason of the last step."""
        self.limiter = MotionLimiter(robot)
        self._index = {name: i for i, name in enumerate(robot.joint_names)}
        self._target: Array | None = None
        self._target_ns = 0
        self._speed = np.array([joint.velocity for joint in robot.joints])
        self._acceleration = np.array([joint.acceleration for joint in robot.joints])
        self._target_velocity: Array = np.zeros(len(robot.joints))
        self._disabled: NDArray[np.bool_] = np.zeros(len(robot.joints), dtype=bool)
        self._source_ns = self._interval_ns = 0
        self._fault: str | None = None
        self._stop_reason: str | None = None
        self._too_hot = False

    def reset(self, position: Array) -> None:
        """Hold at a position and drop the last command, after the robot was moved by other means.

        Args:
            position: Joint positions, shape (joints,) [rad or m].
        """
        self.limiter.reset(position)
        self._target = None
        self._hold(NOT_COMMANDED)

    def command(
        self,
        names: Sequence[str],
        positions: Sequence[float],
        now_ns: int,
        source_ns: int | None = None,
        *,
        release_reason: str = RELEASED,
    ) -> None:
        """Accept a command, or hold if it is invalid.

        Args:
            names: The commanded joints; empty if control is released.
            positions: Target position of each named joint [rad or m].
            now_ns: Time of receipt [ns].
            source_ns: Time at which the operator's device produced the command, by the device's clock [ns]. The
                target's velocity follows from the difference between two of them. `now_ns` if None.
            release_reason: Why control is released, for a command without joints.
        """
        self._fault = release_reason if not names else self._find_fault(names, np.asarray(positions, dtype=float))
        if self._fault:
            self._target = None
            return
        target = self.limiter.position.copy() if self._target is None else self._target.copy()
        target[[self._index[name] for name in names]] = positions
        self._update_velocity(target, now_ns if source_ns is None else source_ns)
        self._target, self._target_ns = target, now_ns

    def _find_fault(self, names: Sequence[str], values: Array) -> str | None:
        """Return why a command is invalid, or None."""
        if unknown := [name for name in names if name not in self._index]:
            return f"command contains unknown joints: {', '.join(unknown)} (known: {', '.join(self._index)})"
        if len(names) != len(values):
            return f"command has {len(names)} names but {len(values)} positions"
        if not np.all(np.isfinite(values)):
            bad = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
            return f"command is not finite for {', '.join(bad)}"
        joints = [self._index[name] for name in names]
        excess = np.maximum(self.robot.lower[joints] - values, values - self.robot.upper[joints])
        if excess.max() <= self.config.max_command_excess:
            return None
        joint = self.robot.joints[joints[int(excess.argmax())]]
        return f"command for {joint.name} is {values[excess.argmax()]:.4g}, limits {_limits(joint)}"

    def _update_velocity(self, target: Array, source_ns: int) -> None:
        """Estimate the target's velocity; it is zero for the first command after a hold or a pause."""
        since_s = (source_ns - self._source_ns) / 1e9
        if self._target is None or not MIN_COMMAND_INTERVAL_S <= since_s < self.config.timeout_s:
            self._target_velocity = np.zeros_like(target)
        else:
            velocity = np.clip((target - self._target) / since_s, -self._speed, self._speed)
            weight = since_s / (since_s + VELOCITY_FILTER_S)
            self._target_velocity = self._target_velocity + weight * (velocity - self._target_velocity)
        self._source_ns, self._interval_ns = source_ns, round(max(since_s, 0.0) * 1e9)

    def _feedforward(self, velocity: Array) -> Array:
        """Return the part of a target's velocity that bounds the overshoot, shape (joints,) [rad/s or m/s].

        A joint with feedforward u behind a target of velocity v lags by (v-u)²/2a and needs v²/2a to stop. The
        difference is its overshoot if the target stops instantly.
        """
        speed = np.maximum(np.abs(velocity), np.abs(self.limiter.velocity))
        rest = np.sqrt(np.maximum(np.square(speed) - 2 * self._acceleration * MAX_OVERSHOOT, 0.0))
        return np.sign(velocity) * np.minimum(np.abs(velocity), speed - rest)

    def _joint_beyond_limits(self, position: Array) -> str | None:
        """Return which joint is too far beyond its limits, or None."""
        excess = np.maximum(self.robot.lower - position, position - self.robot.upper)
        worst = int(excess.argmax())
        if excess[worst] <= self.config.max_state_excess:
            return None
        joint = self.robot.joints[worst]
        return f"{joint.name} is at {position[worst]:.2f}, limits {_limits(joint)}; move it back by hand"

    def handle_disabled_motors(self, disabled: NDArray[np.bool_], faults: Sequence[str]) -> None:
        """Stop if a motor has disabled its torque; its setpoint tracks the measured position until it is back.

        Args:
            disabled: Mask of the motors without torque, shape (joints,).
            faults: Fault of each motor, as text; empty if there is none.
        """
        self._disabled = np.asarray(disabled, dtype=bool)
        if self._disabled.any():
            motors = [
                f"{self.robot.joint_names[i]} ({faults[i] or 'torque disabled'})"
                for i in np.flatnonzero(self._disabled)
            ]
            self.stop(f"no torque at {', '.join(motors)}; support the arm")

    def disengage(self) -> None:
        """Let the next command engage as after a hold: another source commands, whose target may be far away."""
        self._target = None
        if self.status.mode is Mode.FOLLOWING:
            self._hold(NOT_COMMANDED)

    def stop(self, reason: str) -> None:
        """Stop until `enable` is called."""
        self._stop_reason = reason

    def enable(self) -> None:
        """End a stop; the robot follows from the next command on."""
        self._stop_reason = None
        self._target = None

    def step(
        self,
        now_ns: int,
        position: Array,
        state_ns: int,
        headroom_k: Array,
        dt_s: float,
        *,
        speed_ratio: float = 1.0,
    ) -> Array:
        """Return the setpoint of this cycle.

        Args:
            now_ns: The current time [ns].
            position: Measured joint positions, shape (joints,) [rad or m].
            state_ns: Time at which they were measured [ns].
            headroom_k: Temperature difference between each winding and its limit, shape (joints,) [K]; NaN if
                unknown.
            dt_s: Length of a control cycle [s].
            speed_ratio: Fraction of full speed that the heat governor allows, 0 to 1.

        Returns:
            Joint positions, shape (joints,) [rad or m].
        """
        if self._disabled.any() and np.all(np.isfinite(position)):
            self.limiter.track_measured(position, self._disabled)
        reason = self._hold_reason(now_ns, position, state_ns, headroom_k)
        if reason is not None or self._target is None:
            self._hold(reason or NOT_COMMANDED)
            # Within the acceleration limits: a step in velocity would jolt the gears.
            return self.limiter.brake(dt_s)
        self.status = Status(Mode.FOLLOWING, "")
        # Without further commands the target stands still.
        late = now_ns - self._target_ns > 1.5 * self._interval_ns + dt_s * 1e9
        velocity = 0.0 if late else self._feedforward(self._target_velocity)
        return self.limiter.step(self._target, dt_s, speed_ratio=speed_ratio, target_velocity=velocity)

    def _hold_reason(self, now_ns: int, position: Array, state_ns: int, headroom_k: Array) -> str | None:
        """Return why the robot must not follow, or None."""
        config = self.config
        if not np.all(np.isfinite(position)):
            self._stop_reason = self._stop_reason or "robot state is not finite"
        elif (excess := self._joint_beyond_limits(position)) is not None:
            self._stop_reason = self._stop_reason or excess
        if self._stop_reason is not None:
            return self._stop_reason
        if state_ns - now_ns > MAX_CLOCK_LEAD_S * 1e9:
            return f"robot state is {(state_ns - now_ns) / 1e9:.2f} s in the future; check whether a clock was set back"
        if now_ns - state_ns > config.state_timeout_s * 1e9:
            return f"robot state is {(now_ns - state_ns) / 1e9:.2f} s old"
        hot = self._hot_joint(headroom_k)
        if hot is not None:
            return hot
        if self._fault is not None:
            return self._fault
        if self._target is None:
            return NOT_COMMANDED
        if not -MAX_CLOCK_LEAD_S * 1e9 <= now_ns - self._target_ns <= config.timeout_s * 1e9:
            self._target = None
            self._fault = f"no command for {config.timeout_s:g} s"
            return self._fault
        return self._too_far_to_engage(self._target)

    def _too_far_to_engage(self, target: Array) -> str | None:
        """Return why the first command after a hold is too far from the robot, or None."""
        if self.status.mode is Mode.FOLLOWING:
            return None
        distance = np.abs(np.clip(target, self.robot.lower, self.robot.upper) - self.limiter.position)
        worst = int(np.argmax(distance))
        if distance[worst] <= self.config.max_engage_distance:
            return None
        name, limit = self.robot.joint_names[worst], self.config.max_engage_distance
        return f"command for {name} is {distance[worst]:.2f} from the robot, limit {limit:g}; move closer to engage"

    def _hot_joint(self, headroom_k: Array) -> str | None:
        """Return which joint is too close to its heat limit, with hysteresis, or None."""
        margin = self.config.heat_margin_k + (self.config.heat_hysteresis_k if self._too_hot else 0.0)
        known = np.where(np.isnan(headroom_k), np.inf, headroom_k)
        worst = int(np.argmin(known))
        self._too_hot = bool(known[worst] < margin)
        if not self._too_hot:
            return None
        return f"{self.robot.joint_names[worst]} is {known[worst]:.1f} K below its heat limit; let it cool down"

    def _hold(self, reason: str) -> None:
        mode = Mode.STOPPED if self._stop_reason is not None else Mode.HOLDING
        self.status = Status(mode, reason)


def _limits(joint: Joint) -> str:
    return f"{joint.lower:.2f} to {joint.upper:.2f}"
