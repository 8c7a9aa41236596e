"""The safety chain between a command and a robot, once a control cycle, with time passed in.

The robot follows only while a fresh, finite, plausible command comes in; in every other case it holds where it is, and
says why. A stop is latched: only enabling the robot again ends it. It never lets go of a load: at worst it holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError
from waldo.robots.control.limits import MotionLimiter
from waldo.robots.description import Joint, Robot
from waldo.robots.thermal.limits import HOLD_HYSTERESIS_K, HOLD_MARGIN_K
from waldo.typing import Array


class Mode(Enum):
    """What the robot does with commands."""

    HOLDING = "holding"
    """Stands still; follows as soon as a good command comes."""
    FOLLOWING = "following"
    """Moves as it is told, within its limits."""
    STOPPED = "stopped"
    """Stands still until it is enabled again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyConfig:
    """When the chain acts."""

    timeout_s: float = 0.2
    """A command older than this is lost input: hold [s]."""
    state_timeout_s: float = 0.1
    """A robot state older than this is not a state: hold [s]."""
    engage_jump: float = 1.0
    """Largest distance between the robot and the first command after a hold [rad or m]; GELLO uses 1.0 rad."""
    absurd: float = 1.0
    """A command so far beyond a joint's limits is no command: hold; a nearer one is taken as the limit [rad or m]."""
    overrun: float = 0.15
    """A joint so far beyond its limits stops the robot for good: something else moves it [rad or m]."""
    heat_margin_k: float = HOLD_MARGIN_K
    """A winding this near its limit makes the robot hold [K]; it must act before the vendor's shutdown, and after
    the governor has slowed the robot down."""
    heat_hysteresis_k: float = HOLD_HYSTERESIS_K
    """How much further the winding must cool before the robot follows again [K]."""

    def __post_init__(self) -> None:
        """Refuse settings that would switch a guard off."""
        for name in GUARDS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValueError(name, value, "a finite number above 0")


SMOOTH_S = 0.02
"""Time constant of the target's velocity [s]: a device's clock and counts are coarse."""
SOONEST_S = 1e-3
"""Commands closer together than that tell no velocity [s]."""
OVERSHOOT = 0.05
"""How far a joint may go beyond a target that stops dead [rad or m]: the price of following a moving one closely."""
AHEAD_S = 0.1
"""A command or a state from the future by more than this comes of a clock that was set back [s]."""

GUARDS = ("timeout_s", "state_timeout_s", "engage_jump", "absurd", "overrun", "heat_margin_k", "heat_hysteresis_k")
"""The settings that must be above 0."""


@dataclass(frozen=True, slots=True)
class Status:
    """The chain's mode and, unless it is following, the reason for it."""

    mode: Mode
    reason: str


class SafetyChain:
    """Turns commands into setpoints that are safe to send to `robot`."""

    def __init__(self, robot: Robot, config: SafetyConfig | None = None) -> None:
        """Start holding, enabled, with no command."""
        self.robot = robot
        self.config = config or SafetyConfig()
        self.status = Status(Mode.HOLDING, "no command yet")
        self.limiter = MotionLimiter(robot)
        self._index = {name: i for i, name in enumerate(robot.joint_names)}
        self._target: Array | None = None
        self._target_ns = 0
        self._speed = np.array([joint.velocity for joint in robot.joints])
        self._acceleration = np.array([joint.acceleration for joint in robot.joints])
        self._target_velocity = np.zeros(len(robot.joints))
        self._limp = np.zeros(len(robot.joints), dtype=bool)
        self._made_ns = self._interval_ns = 0
        self._fault: str | None = None
        self._stop_reason: str | None = None
        self._too_hot = False

    def reset(self, position: Array) -> None:
        """Hold at `position` (joints,) [rad], forgetting the last command: the robot was moved by other means."""
        self.limiter.reset(position)
        self._target = None
        self._hold("waiting for a command")

    def command(
        self, names: Sequence[str], positions: Sequence[float], now_ns: int, made_ns: int | None = None
    ) -> None:
        """Take a command: position targets [rad] by joint name. No names at all means that the operator let go.

        `now_ns` is when it came, `made_ns` when the operator's device made it, by its own clock: from the time between
        two of them follows how fast the target moves.
        """
        self._fault = None
        if not names:
            self._target = None
            self._fault = "the operator let go"
            return
        unknown = [name for name in names if name not in self._index]
        values = np.asarray(positions, dtype=float)
        if unknown:
            self._fault = f"the command names joints that {self.robot.name} does not have: {', '.join(unknown)}"
        elif len(names) != len(values):
            self._fault = f"the command has {len(names)} names and {len(values)} positions"
        elif not np.all(np.isfinite(values)):
            bad = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
            self._fault = f"the command is not finite at {', '.join(bad)}"
        else:
            self._fault = self._absurd([self._index[name] for name in names], values)
        if self._fault:
            self._target = None
            return
        target = self.limiter.position.copy() if self._target is None else self._target.copy()
        target[[self._index[name] for name in names]] = values
        self._move_target(target, now_ns if made_ns is None else made_ns)
        self._target, self._target_ns = target, now_ns

    def _move_target(self, target: Array, made_ns: int) -> None:
        """Learn how fast the target moves; a first command after a hold, or one after a pause, stands still."""
        since_s = (made_ns - self._made_ns) / 1e9
        if self._target is None or not SOONEST_S <= since_s < self.config.timeout_s:
            self._target_velocity = np.zeros_like(target)
        else:
            moved = np.clip((target - self._target) / since_s, -self._speed, self._speed)
            share = since_s / (since_s + SMOOTH_S)
            self._target_velocity = self._target_velocity + share * (moved - self._target_velocity)
        self._made_ns, self._interval_ns = made_ns, round(max(since_s, 0.0) * 1e9)

    def _followed(self, velocity: Array) -> Array:
        """Return how much of a target's velocity (joints,) may be gone along with.

        A joint that goes along with u of a target's v lags (v-u)²/2a behind, and needs v²/2a to stop: the difference is
        how far it overshoots a target that stops dead.
        """
        speed = np.maximum(np.abs(velocity), np.abs(self.limiter.velocity))
        rest = np.sqrt(np.maximum(np.square(speed) - 2 * self._acceleration * OVERSHOOT, 0.0))
        return np.sign(velocity) * np.minimum(np.abs(velocity), speed - rest)

    def _absurd(self, joints: list[int], values: Array) -> str | None:
        """Return which command no operator can have meant, or None."""
        beyond = np.maximum(self.robot.lower[joints] - values, values - self.robot.upper[joints])
        if not joints or beyond.max() <= self.config.absurd:
            return None
        joint = self.robot.joints[joints[int(beyond.argmax())]]
        return f"the command for {joint.name} is {values[beyond.argmax()]:.4g}, its limits are {_limits(joint)}"

    def _overrun(self, position: Array) -> str | None:
        """Return which joint is where it must not be, or None."""
        beyond = np.maximum(self.robot.lower - position, position - self.robot.upper)
        worst = int(beyond.argmax())
        if beyond[worst] <= self.config.overrun:
            return None
        joint = self.robot.joints[worst]
        return f"{joint.name} is at {position[worst]:.2f}, its limits are {_limits(joint)}: move it back by hand"

    def give_way(self, limp: NDArray[np.bool_], why: Sequence[str]) -> None:
        """Stop when motors (joints,) have switched themselves off; their setpoints go along, so that none snaps back.

        `why` (joints,) says what each complains of.
        """
        self._limp = np.asarray(limp, dtype=bool)
        if self._limp.any():
            told = [f"{self.robot.joint_names[i]} ({why[i] or 'switched off'})" for i in np.flatnonzero(self._limp)]
            self.stop(f"no torque at {', '.join(told)}: support the arm, remove the cause, then enable")

    def stop(self, reason: str) -> None:
        """Stop and stay stopped until `enable`."""
        self._stop_reason = reason

    def enable(self) -> None:
        """End a latched stop; the robot follows again from the next command on."""
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
        """Return the setpoint (joints,) [rad] for this cycle.

        Takes the time, the robot's position (joints,) [rad] and when that was true [ns], each winding's distance to its
        limit (joints,) [K] (NaN where unknown), the cycle's length [s], and which share of full speed the heat governor
        leaves: below 1, all joints are slowed alike.
        """
        if self._limp.any() and np.all(np.isfinite(position)):
            self.limiter.go_along(position, self._limp)
        reason = self._why_not(now_ns, position, state_ns, headroom_k)
        if reason is not None or self._target is None:
            self._hold(reason or "waiting for a command")
            # Brake within the limits rather than freeze: a jump in speed is a jolt to the gears.
            return self.limiter.step(self.limiter.position + self._stopping_distance(), dt_s)
        self.status = Status(Mode.FOLLOWING, "")
        # A target that is not heard of again stands still.
        late = now_ns - self._target_ns > 1.5 * self._interval_ns + dt_s * 1e9
        velocity = 0.0 if late else self._followed(self._target_velocity)
        return self.limiter.step(self._target, dt_s, speed_ratio=speed_ratio, target_velocity=velocity)

    def _why_not(self, now_ns: int, position: Array, state_ns: int, headroom_k: Array) -> str | None:
        """Return why the robot must not follow now, or None."""
        config = self.config
        if not np.all(np.isfinite(position)):
            self._stop_reason = self._stop_reason or "the robot's state is not finite"
        elif (overrun := self._overrun(position)) is not None:
            self._stop_reason = self._stop_reason or overrun
        if self._stop_reason is not None:
            return self._stop_reason
        if state_ns - now_ns > AHEAD_S * 1e9:
            return f"the robot's state is from {(state_ns - now_ns) / 1e9:.2f} s ahead: was the clock set back?"
        if now_ns - state_ns > config.state_timeout_s * 1e9:
            return f"the robot's state is {(now_ns - state_ns) / 1e9:.2f} s old"
        hot = self._hot_joint(headroom_k)
        if hot is not None:
            return hot
        if self._fault is not None:
            return self._fault
        if self._target is None:
            return "waiting for a command"
        if not -AHEAD_S * 1e9 <= now_ns - self._target_ns <= config.timeout_s * 1e9:
            self._target = None
            self._fault = f"no command for {config.timeout_s:g} s"
            return self._fault
        return self._jump(self._target)

    def _jump(self, target: Array) -> str | None:
        """Return why a first command after a hold is too far away, or None."""
        if self.status.mode is Mode.FOLLOWING:
            return None
        distance = np.abs(np.clip(target, self.robot.lower, self.robot.upper) - self.limiter.position)
        worst = int(np.argmax(distance))
        if distance[worst] <= self.config.engage_jump:
            return None
        name = self.robot.joint_names[worst]
        return f"{name} would jump by {distance[worst]:.2f}, allowed is {self.config.engage_jump:g}: move nearer first"

    def _hot_joint(self, headroom_k: Array) -> str | None:
        """Return which joint is too hot to go on, or None; with hysteresis."""
        margin = self.config.heat_margin_k + (self.config.heat_hysteresis_k if self._too_hot else 0.0)
        known = np.where(np.isnan(headroom_k), np.inf, headroom_k)
        worst = int(np.argmin(known))
        self._too_hot = bool(known[worst] < margin)
        if not self._too_hot:
            return None
        return f"{self.robot.joint_names[worst]} is {known[worst]:.1f} K below its heat limit: let it cool"

    def _hold(self, reason: str) -> None:
        mode = Mode.STOPPED if self._stop_reason is not None else Mode.HOLDING
        self.status = Status(mode, reason)

    def _stopping_distance(self) -> Array:
        """Return how far each joint still travels when it brakes as hard as it may (joints,) [rad]."""
        acceleration = np.array([joint.acceleration for joint in self.robot.joints])
        return self.limiter.velocity * np.abs(self.limiter.velocity) / (2 * acceleration)


def _limits(joint: Joint) -> str:
    return f"{joint.lower:.2f} to {joint.upper:.2f}"
