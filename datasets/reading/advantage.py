"""How good an attempt was, as words after its instruction: a policy learns what good and bad attempts look like.

As in RECAP (Physical Intelligence 2025, "pi*0.6: a VLA That Learns From Experience", arXiv:2511.14759), a policy that
was trained on both is asked for good ones. Instead of a learned value function, attempts with the same instruction are
compared with each other: by success, and among successes by time or by the heat in the motors' windings. Of an attempt
in which a person took over, what the policy did before is bad, and the correction is good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from waldo.datasets.episode import Episode
from waldo.datasets.reading.corrections import ControlConfig, by_person, pieces, runs
from waldo.datasets.reading.rows import Rows
from waldo.datasets.schema import CONTROL_COLUMN, MOTORS
from waldo.errors import InvalidValueError, UnsupportedOptionError
from waldo.robots.control.arbiter import Source
from waldo.robots.description import load_robot

GOOD, BAD = ", advantage: positive", ", advantage: negative"
"""What follows the instruction of good and of bad rows."""

type Criterion = Literal["success", "time", "heat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageConfig:
    """Whether the instructions state how good an attempt was, so that a policy can be asked for good ones."""

    advantage: tuple[Criterion, ...] = ()
    """What makes an attempt good: success; among successes a short time, or little heat in the windings; several
    count alike. Failures are bad; --outcome success failure --control all includes them and what a policy did."""
    advantage_share: float = 0.5
    """Share of the successes with the same instruction that are good, if time or heat is compared."""

    def __post_init__(self) -> None:
        """Reject a share out of range."""
        if not 0 < self.advantage_share < 1:
            raise InvalidValueError("advantage-share", self.advantage_share, "a number between 0 and 1")


class Attempt(NamedTuple):
    """What is compared of an attempt."""

    task: str
    """The instruction."""
    success: bool
    """Whether it succeeded."""
    seconds: float
    """Duration [s]."""
    heat_j: float
    """Heat in all windings at 25 °C [J]; NaN if it is not compared."""


def heat_j(episode: Episode, robot: str) -> float:
    """Return the heat in the windings of all motors during an episode [J].

    The resistances are those of the robot's motors at 25 °C; motors without a published one are left out.

    Raises:
        UnsupportedOptionError: If the episode contains no motor currents, none of them is a number, or no resistance
            is known.
    """
    resistances = {joint.name: joint.motor.resistance_ohm for joint in load_robot(robot).joints}
    stream = episode.streams.get(MOTORS)
    if stream is None or "current" not in {one.name for one in getattr(stream, "fields", ())}:
        raise UnsupportedOptionError("--advantage heat", f"episode {episode.index}, which has no motor currents")
    labels = episode.field(MOTORS, "current").labels
    ohms = np.array([resistances.get(label) or np.nan for label in labels])
    if not np.isfinite(ohms).any():
        raise UnsupportedOptionError("--advantage heat", f"{robot}, whose motors have no published resistance")
    current = np.asarray(episode.values(MOTORS, "current"), dtype=np.float64)
    if not np.isfinite(current[:, np.isfinite(ohms)]).any():
        raise UnsupportedOptionError("--advantage heat", f"episode {episode.index}, whose motors report no current")
    if len(current) < 2:
        return 0.0
    watts = np.nansum(np.square(current) * ohms, axis=1)
    return float(np.trapezoid(watts, episode.time_ns(MOTORS) / 1e9))


def are_good(
    tables: Sequence[tuple[Episode, Rows]], config: AdvantageConfig, *, fps: int, robot: str
) -> Sequence[bool | None]:
    """Return whether each attempt is good; None if that is not asked for.

    Args:
        tables: Episodes with their rows.
        config: What makes an attempt good.
        fps: Rows per second.
        robot: Name of the robot.

    Raises:
        UnsupportedOptionError: If heat is compared, and an episode or the robot lacks what it is computed from.
    """
    if not config.advantage:
        return [None] * len(tables)
    attempts = [
        Attempt(
            task=episode.task,
            success=episode.outcome == "success",
            seconds=len(rows) / fps,
            heat_j=heat_j(episode, robot) if "heat" in config.advantage else float("nan"),
        )
        for episode, rows in tables
    ]
    return good_attempts(attempts, config)


def good_attempts(attempts: Sequence[Attempt], config: AdvantageConfig) -> list[bool]:
    """Return whether each attempt is good, compared with the successes that have the same instruction."""
    costs = {"time": "seconds", "heat": "heat_j"}
    compared = [costs[one] for one in config.advantage if one in costs]
    limits: dict[str, float] = {}
    means: dict[str, Mapping[str, float]] = {}
    for task in {one.task for one in attempts}:
        same = [one for one in attempts if one.task == task and one.success]
        means[task] = {name: float(np.mean([getattr(one, name) for one in same])) if same else 1.0 for name in compared}
        scores = [_cost(one, means[task]) for one in same]
        limits[task] = float(np.quantile(scores, config.advantage_share)) if scores else 0.0
    return [one.success and _cost(one, means[one.task]) <= limits[one.task] for one in attempts]


def _cost(attempt: Attempt, means: Mapping[str, float]) -> float:
    """Return the sum of what an attempt cost, each relative to the mean."""
    return sum(getattr(attempt, name) / mean if mean > 0 else 0.0 for name, mean in means.items())


def labeled_pieces(rows: Rows, control: ControlConfig, *, good: bool, success: bool) -> list[tuple[Rows, str]]:
    """Return the pieces of an attempt to train on, as `pieces` does, each with what follows its instruction.

    Args:
        rows: The rows of the attempt.
        control: Which of them to use.
        good: Whether the attempt is good.
        success: Whether it succeeded.
    """
    column = rows.columns.get(CONTROL_COLUMN)
    if column is None or not ((column.values == Source.POLICY).any() and (column.values == Source.PERSON).any()):
        return [(part, GOOD if good else BAD) for part in pieces(rows, control)]
    person = by_person(column.values[:, 0])
    found = [(rows.part(first, stop), GOOD if success else BAD) for first, stop in runs(person)]
    if control.control == "all":
        found += [(rows.part(first, stop), BAD) for first, stop in runs(~person)]
    return found * control.corrections


def without_advantage(task: str) -> str:
    """Return an instruction without the words about the advantage."""
    return task.removesuffix(GOOD).removesuffix(BAD)
