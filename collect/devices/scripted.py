"""A scripted operator: an expert that records episodes of a simulated task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from waldo import registry
from waldo.collect.devices.device import Observation, Session
from waldo.errors import InvalidValueError, WaldoError
from waldo.robots.description import Robot
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

TIMEOUT_S = 5.0
"""Timeout for the simulation's ground truth [s]."""


class Expert(Protocol):
    """Solves one episode of a task: plans from a state of the world and returns targets until it is done."""

    def begin(self, position: Array, environment: Mapping[str, float]) -> None:
        """Plan from joint positions (joints,) [rad] and the simulation's ground truth."""
        ...

    def command(self, position: Array, environment: Mapping[str, float]) -> Array | None:
        """Return the next targets (joints,) [rad], or None when it is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptOptions(TypedOptions):
    """Options of the scripted operator."""

    task: str = "lift"
    """Task that the scripted operator performs."""
    episodes: int = 10
    """Number of episodes that the scripted operator records."""
    first: int = 0
    """Number of the scripted operator's first episode, which seeds its noise."""
    noise_scale: float = 1.0
    """Scale of the scripted operator's noise, pauses and errors: 0 is exact, 1 is human-like."""

    def __post_init__(self) -> None:
        """Validate the types and the number of episodes."""
        TypedOptions.__post_init__(self)
        if self.episodes < 1:
            raise InvalidValueError("episodes", self.episodes, "1 or more")


class ScriptedOperator:
    """A Device that records a number of episodes: reset, start, act, then save as success or failure."""

    usage = ""
    """A scripted operator has no controls."""

    def __init__(self, expert: Callable[[int], Expert], episodes: int, first: int = 0) -> None:
        """Initialize at the first episode.

        Args:
            expert: Returns the expert of an episode's number.
            episodes: Number of episodes to record.
            first: Number of the first episode.
        """
        self._expert_of = expert
        self._expert: Expert | None = None
        self._end = first + episodes
        self._episode = first
        self._scene_ready = True
        self._blind_s = 0.0

    def open(self) -> None:
        """Do nothing: there is no hardware."""

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the expert's targets (joints,) [rad], or None between episodes."""
        if self.finished:
            return None
        if not observation.environment:
            self._blind_s += dt_s
            if self._blind_s > TIMEOUT_S:
                raise WaldoError("no environment_state received; the scripted operator requires a simulated robot")
            return None
        if self._expert is None:
            return self._begin(observation, session)
        target = self._expert.command(observation.position, observation.environment)
        if target is None:
            self._save(session)
        return target

    def _begin(self, observation: Observation, session: Session) -> Array | None:
        """Reset the scene or, if that has been done, start the recording."""
        if not self._scene_ready:
            self._scene_ready = True
            _call(session, "reset")
            return None
        self._expert = self._expert_of(self._episode)
        self._expert.begin(observation.position, observation.environment)
        _call(session, "start")
        return self._expert.command(observation.position, observation.environment)

    def _save(self, session: Session) -> None:
        """Save the episode as a success or a failure."""
        done = session.call("task_done").success
        _call(session, "save" if done else "fail")
        self._episode += 1
        self._expert, self._scene_ready = None, False

    @property
    def finished(self) -> bool:
        """Whether all episodes are recorded."""
        return self._episode >= self._end

    def close(self) -> None:
        """Do nothing: there is no hardware."""


class Correction:
    """A scripted person who takes over from a policy that is not done in time, and finishes the task."""

    def __init__(self, expert: Callable[[int], Expert], after_s: float) -> None:
        """Initialize before the first attempt.

        Args:
            expert: Returns the expert of an attempt's number.
            after_s: Time of an attempt after which the person takes over [s].
        """
        self._expert_of, self._after_s = expert, after_s
        self._expert: Expert | None = None
        self._number = -1
        self._elapsed_s = 0.0
        self._released = True

    def begin(self) -> None:
        """Watch another attempt."""
        self._number += 1
        self._expert, self._elapsed_s, self._released = None, 0.0, False

    def step(self, position: Array, environment: Mapping[str, float], dt_s: float) -> Array | None:
        """Return the expert's targets (joints,) [rad] while it corrects, else None."""
        self._elapsed_s += dt_s
        if self._released or self._elapsed_s < self._after_s:
            return None
        if self._expert is None:
            self._expert = self._expert_of(self._number)
            self._expert.begin(position, environment)
        target = self._expert.command(position, environment)
        self._released = target is None
        return target


class Scripted(ScriptedOperator):
    """The scripted operator of a registered task, with the registered expert."""

    Options = ScriptOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Initialize; `options` are those of `ScriptOptions`."""
        del robot  # the task determines the expert's robot
        script = build_options(ScriptOptions, options)
        make_expert: Callable[..., Expert] = registry.load("waldo.experts", "scripted", "expert")

        def expert_of(number: int) -> Expert:
            return make_expert(script.task, seed=number, noise_scale=script.noise_scale)

        super().__init__(expert_of, script.episodes, script.first)


def _call(session: Session, name: str) -> None:
    """Call a service that must succeed."""
    response = session.call(name)
    if not response.success:
        raise WaldoError(f"the scripted operator stopped: service {name} failed: {response.message}")
