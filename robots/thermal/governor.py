"""Governor: slows a robot down before a motor reaches its temperature limit.

For each motor the governor computes the factor by which the recent load may be multiplied so that the winding, at the
pessimistic end of its estimate, is a margin below its limit at the horizon (`forecast.allowed_load_factor`). The motor
with the smallest factor determines the speed of the whole robot: all joints are slowed down by the same ratio. The
governor never reduces torque, so a held object is not dropped. If even the slowest motion heats a motor too much, the
governor requests rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.thermal.forecast import allowed_load_factor
from waldo.robots.thermal.limits import GOVERNOR_MARGIN_K
from waldo.robots.thermal.observer import AMBIENT, HeatObserver
from waldo.robots.thermal.two_node import Load
from waldo.typing import Array

MIN_FACTOR, MAX_FACTOR = 0.05, 2.0
"""Range of the allowed load factor that the speed follows: it bounds how fast the speed changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorConfig:
    """Parameters of the governor."""

    margin_k: float = GOVERNOR_MARGIN_K
    """Margin below the limit that is kept at the horizon [K]; larger than `limits.HOLD_MARGIN_K`."""
    sigma: float = 1.28
    """Standard deviations that are added to the estimated temperatures; 1.28 is the 90 % quantile."""
    horizon_s: float = 240.0
    """Time ahead for which the margin must be kept [s]."""
    min_speed_ratio: float = 0.15
    """Lowest fraction of full speed; if it is not slow enough, the governor requests rest."""
    slow_down_s: float = 40.0
    """Time constant of slowing down [s]."""
    release_factor: float = 1.08
    """Allowed load factor above which the robot speeds up again."""
    speed_up_s: float = 120.0
    """Time constant of speeding up [s]."""

    def __post_init__(self) -> None:
        """Raise if a value would disable the governor or make it oscillate."""
        for name in ("margin_k", "horizon_s", "slow_down_s", "speed_up_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValueError(name, value, "a finite number above 0")
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise InvalidValueError("sigma", self.sigma, "a finite number, 0 or more")
        if not 0 < self.min_speed_ratio <= 1:
            raise InvalidValueError(
                "min_speed_ratio", self.min_speed_ratio, "a fraction of full speed above 0, up to 1"
            )
        if not self.release_factor >= 1:
            raise InvalidValueError("release_factor", self.release_factor, "1 or more")


@dataclass(frozen=True, slots=True)
class Derating:
    """Output of the governor."""

    speed_ratio: float
    """Fraction of full speed that the whole robot may move at, 0 to 1."""
    allowed_ratio: Array
    """Allowed load divided by recent load, (motors,); infinity without a limit."""
    limiting_motor: int
    """Index of the motor that determines the speed; -1 if no motor limits it."""
    needs_rest: bool
    """Whether even the slowest motion heats a motor too much."""


class Governor:
    """Derates a robot by the forecast of its motors' temperatures. Shapes (motors,)."""

    def __init__(self, limit_c: Array, config: GovernorConfig | None = None) -> None:
        """Start at full speed; `limit_c` are the winding limits (motors,) [°C], NaN where there is none."""
        self.limit_c, self.config = np.asarray(limit_c, dtype=float), config or GovernorConfig()
        self.derating = Derating(1.0, np.full(len(self.limit_c), np.inf), -1, needs_rest=False)
        """The latest output."""
        self._speed = 1.0

    def step(self, observer: HeatObserver, load: Load, dt_s: float) -> Derating:
        """Advance by `dt_s` [s] and return the derating for a recent load (motors,) [W]."""
        c = self.config
        factor = self._allowed(observer, load)
        limiting = int(np.argmin(factor)) if len(factor) else -1
        least = float(factor[limiting]) if limiting >= 0 else math.inf
        if least < 1:
            self._speed *= max(least, MIN_FACTOR) ** (dt_s / c.slow_down_s)
        elif least > c.release_factor:
            self._speed *= min(least, MAX_FACTOR) ** (dt_s / c.speed_up_s)
        self._speed = min(1.0, max(c.min_speed_ratio, self._speed))
        self.derating = Derating(
            speed_ratio=self._speed,
            allowed_ratio=factor,
            limiting_motor=limiting if self._speed < 1 or least < 1 else -1,
            needs_rest=least < 1 and self._speed <= c.min_speed_ratio,
        )
        return self.derating

    def _allowed(self, observer: HeatObserver, load: Load) -> Array:
        """Return the allowed load factor of each motor, (motors,); infinity without a limit."""
        c = self.config
        std = np.stack([observer.winding_std_k, observer.housing_std_k], axis=-1)
        state, target = observer.state_c + c.sigma * std, self.limit_c - c.margin_k
        factor = allowed_load_factor(
            observer.model, state, observer.mean[:, AMBIENT], target, load * observer.scale, c.horizon_s
        )
        return np.where(np.isnan(target) | np.isnan(factor), np.inf, np.maximum(factor, 0.0))

    def describe(self, joints: Sequence[str]) -> str:
        """Return the derating as text for the operator; empty at full speed."""
        now = self.derating
        if now.limiting_motor < 0:
            return ""
        joint = joints[now.limiting_motor]
        if now.needs_rest:
            return f"{joint} is too hot for any motion; put down any load and let the robot rest"
        return f"speed reduced to {now.speed_ratio:.0%} to keep {joint} below its temperature limit"
