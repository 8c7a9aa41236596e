"""Options and results of an evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from waldo.errors import InvalidValueError
from waldo.robots.thermal.limits import AMBIENT_C


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Options of an evaluation."""

    task: str = "lift"
    """Registered name of the task."""
    episodes: int = 50
    """Number of episodes, one seed each."""
    first_seed: int = 100_000
    """Seed of the first episode; use other seeds than those of the demonstrations."""
    horizon_s: float | None = None
    """Time limit of an episode [s]; None: the task's own."""
    start_c: float = AMBIENT_C
    """Temperature of windings and housings at the start [°C]."""
    instruction: Literal["own", "wrong"] = "own"
    """`wrong`: a control in which the instruction names another object; success is still the own goal."""
    worlds: int = 500
    """Maximum number of episodes that run at the same time."""
    threads: int | None = None
    """Threads of the physics; None: all cores, at most 8."""
    videos: int = 3
    """Number of episodes that are filmed, the first ones."""
    video_size: tuple[int, int] = (640, 480)
    """Width and height of a video [px]."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        for name in ("episodes", "worlds", "threads"):
            if (count := getattr(self, name)) is not None and count < 1:
                raise InvalidValueError(name, count, "a number from 1")
        if self.videos < 0:
            raise InvalidValueError("videos", self.videos, "a number from 0")
        if self.first_seed < 0:
            raise InvalidValueError("seed", self.first_seed, "a number from 0")
        if self.horizon_s is not None and not 0 < self.horizon_s < math.inf:
            raise InvalidValueError("horizon", self.horizon_s, "a time above 0 s")
        if not math.isfinite(self.start_c):
            raise InvalidValueError("start_temperature", self.start_c, "a temperature in °C")


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorHeat:
    """Load and temperature of one motor over all episodes."""

    joint: str
    """Name of the joint."""
    motor: str
    """Name of the motor's type."""
    max_winding_c: float
    """Maximum winding temperature in any episode [°C]."""
    mean_max_winding_c: float
    """Mean over the episodes of the maximum winding temperature [°C]."""
    limit_c: float | None
    """Limit of the winding temperature [°C]; None if unknown."""
    equivalent_torque_nm: float
    """Thermally equivalent torque: root mean square over the time of all episodes [N·m]."""
    rated_torque_nm: float | None
    """Continuous torque of the motor [N·m]; None if unknown."""
    utilization_ratio: float | None
    """Steady rise above ambient at the mean heating of all episodes, divided by the rise to the limit; above 1 exactly
    if repeating the episodes without a break takes the motor to its limit. None if the limit is unknown."""
    duty_percent: float
    """Fraction of time under load, ED% of IEC 60034-1 [%]."""
    joules: float
    """Mean heat in the winding per episode [J]."""
    steady_winding_c: float
    """Winding temperature that repeated episodes converge to: the steady state at their mean heating [°C]."""
    seconds_to_limit: float | None
    """Time of repeated episodes from ambient to the limit at their mean heating [s]; None if the limit is not reached,
    which is so if the utilization is at most 1."""
    thermal_basis: str
    """Origin of the thermal constants: published, fitted or assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Winding temperatures over time, of the episodes that are still running."""

    seconds: list[float]
    """Time of each sample since the start of the episode [s]."""
    mean_winding_c: list[list[float]]
    """Mean over the episodes, (samples, motors) [°C]."""
    max_winding_c: list[list[float]]
    """Maximum over the episodes, (samples, motors) [°C]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How often a policy reaches the own goal of a world although its instruction names another object."""

    success: list[bool]
    """Whether each episode reached its own goal."""
    wilson_95: tuple[float, float]
    """95 % Wilson score interval of their rate."""

    @property
    def successes(self) -> int:
        """Number of episodes that reached their own goal."""
        return sum(self.success)

    @property
    def rate(self) -> float:
        """Rate of these episodes, 0 to 1."""
        return self.successes / len(self.success)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """Result of an evaluation."""

    config: EvalConfig
    """The options."""
    policy: str
    """Name of the policy."""
    robot: str
    """Model of the robot."""
    instruction: str
    """Goal of the first episode in words."""
    seeds: list[int]
    """Seed of each episode."""
    success: list[bool]
    """Whether each episode reached its goal."""
    seconds: list[float]
    """Time to success of each episode, or its duration [s]."""
    wilson_95: tuple[float, float]
    """95 % Wilson score interval of the success rate."""
    clopper_pearson_95: tuple[float, float]
    """95 % Clopper-Pearson (exact) interval of the success rate."""
    motors: list[MotorHeat]
    """Load and temperature of each motor."""
    series: Series
    """Winding temperatures over time."""
    control: Control | None = None
    """The same seeds with a wrong instruction; None if that was not evaluated."""
    videos: dict[int, str] = field(default_factory=lambda: dict[int, str]())
    """Seed -> file name of its video."""
    wall_s: float
    """Duration of the evaluation [s]."""

    @property
    def successes(self) -> int:
        """Number of episodes that reached their goal."""
        return sum(self.success)

    @property
    def rate(self) -> float:
        """Success rate, 0 to 1."""
        return self.successes / len(self.success)


def success_interval(
    successes: int, episodes: int, method: Literal["wilson", "exact"] = "wilson"
) -> tuple[float, float]:
    """Return the 95 % confidence interval of a success rate.

    Args:
        successes: Number of successful episodes.
        episodes: Number of episodes.
        method: Wilson's score interval, or the exact interval of Clopper and Pearson, which is never too narrow.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, episodes).proportion_ci(confidence_level=0.95, method=method)
    return float(interval.low), float(interval.high)
