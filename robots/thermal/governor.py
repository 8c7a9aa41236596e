"""Slows a robot down before a motor reaches its heat limit: smoothly, the whole motion, and never by letting go.

For each motor it asks by which factor the recent load may be multiplied so that the winding, pessimistically, ends a
margin below its limit at the horizon (forecast.allowed). The tightest motor decides how fast the whole robot moves: a
motion that is slower in all joints alike keeps its path. Torque is never taken away from a motor that
holds something; where even the slowest motion is too much, the governor says so and asks for rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.thermal.forecast import allowed
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import Load
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorConfig:
    """How the governor acts."""

    margin_k: float = 4.0
    """How far below its limit a winding is kept [K]; more than the margin at which the safety chain holds."""
    pessimism: float = 1.28
    """Standard deviations by which the winding is taken to be hotter than estimated: 1.28 is the 90 % quantile."""
    horizon_s: float = 240.0
    """How far ahead the winding must stay below [s]."""
    slowest: float = 0.15
    """The lowest share of full speed; below it, rest is what helps."""
    follow_s: float = 40.0
    """How fast the speed follows what is allowed [s]."""
    release: float = 1.08
    """The allowed load must exceed the present one by this factor before the robot speeds up again."""
    release_s: float = 120.0
    """How fast it speeds up again [s]."""

    def __post_init__(self) -> None:
        """Refuse settings that would switch it off or make it swing."""
        for name in ("margin_k", "horizon_s", "follow_s", "release_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValueError(name, value, "a finite number above 0")
        if not 0 < self.slowest <= 1:
            raise InvalidValueError("slowest", self.slowest, "a share of full speed above 0, up to 1")
        if not self.release >= 1:
            raise InvalidValueError("release", self.release, "1 or more")


@dataclass(frozen=True, slots=True)
class Derating:
    """What the governor asks for now."""

    speed_ratio: float
    """Share of full speed that the whole robot may move at, 0..1."""
    allowed_ratio: Array
    """Each motor's allowed load over its recent one, (motors,); infinity where there is no limit."""
    tightest: int
    """The motor that decides; -1 where none does."""
    needs_rest: bool
    """Whether even the slowest motion is too much."""


class Governor:
    """Derates a robot by the forecast of its motors' heat. Shapes (motors,)."""

    def __init__(self, limit_c: Array, config: GovernorConfig | None = None) -> None:
        """Take each winding's limit [°C], NaN where nobody knows one."""
        self.limit_c, self.config = np.asarray(limit_c, dtype=float), config or GovernorConfig()
        self.derating = Derating(1.0, np.full(len(self.limit_c), np.inf), -1, needs_rest=False)
        self._speed = 1.0

    def step(self, observer: HeatObserver, load: Load, dt_s: float) -> Derating:
        """Return what holds after `dt_s` [s] with this recent load [W]."""
        c = self.config
        state = observer.state_c + (c.pessimism * np.stack([observer.winding_std_k, observer.housing_std_k], axis=-1))
        target = self.limit_c - c.margin_k
        # A motor that idles is allowed any multiple of nothing: it has to be told from one that works.
        working = load * observer.scale
        factor = allowed(observer.model, state, observer.mean[:, 2], target, working, c.horizon_s)
        factor = np.where(np.isnan(target) | np.isnan(factor), np.inf, np.maximum(factor, 0.0))
        tightest = int(np.argmin(factor)) if len(factor) else -1
        least = float(factor[tightest]) if tightest >= 0 else math.inf
        if least < 1:
            self._speed *= max(least, 0.05) ** (dt_s / c.follow_s)
        elif least > c.release:
            self._speed *= min(least, 2.0) ** (dt_s / c.release_s)
        self._speed = min(1.0, max(c.slowest, self._speed))
        rest = least < 1 and self._speed <= c.slowest
        deciding = tightest if self._speed < 1 or least < 1 else -1
        self.derating = Derating(self._speed, factor, deciding, needs_rest=rest)
        return self.derating

    def describe(self, joints: Sequence[str]) -> str:
        """Return what the operator should hear; empty while nothing is held back."""
        now = self.derating
        if now.tightest < 0:
            return ""
        joint = joints[now.tightest]
        if now.needs_rest:
            return f"{joint} is too hot for any motion: put down what is held and rest"
        return f"slowed to {now.speed_ratio:.0%} so that {joint} stays cool"
