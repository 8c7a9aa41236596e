"""A scripted operator: an expert that works through episodes of a simulated task as a person at the controls would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from waldo.collect.devices.device import Observation, Session
from waldo.errors import WaldoError
from waldo.typing import Array

PATIENCE_S = 5.0
"""How long to wait for a simulation's ground truth [s]."""


class Expert(Protocol):
    """Solves one task: begins at a state of the world and gives targets until it is done."""

    def begin(self, position: Array, environment: Mapping[str, float]) -> None:
        """Plan from joint positions (joints,) [rad] and the simulation's ground truth."""
        ...

    def command(self, position: Array, environment: Mapping[str, float]) -> Array | None:
        """Return the next targets (joints,) [rad], or None when it is done."""
        ...


class Scripted:
    """Records `episodes` episodes: lays out a scene, starts the recorder, acts, saves as success or failure."""

    def __init__(self, expert: Callable[[int], Expert], episodes: int, first: int = 0) -> None:
        """Take a maker of experts by episode number, how many episodes to record and the first one's number."""
        self._expert_for = expert
        self._expert: Expert | None = None
        self._first, self._last = first, first + episodes
        self._episode = first
        self._fresh = True
        self._blind_s = 0.0

    def open(self) -> None:
        """Nothing to open."""

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the expert's targets, or None between episodes."""
        if self.finished:
            return None
        if not observation.environment:
            self._blind_s += dt_s
            if self._blind_s > PATIENCE_S:
                raise WaldoError(
                    "the scripted operator needs a simulated robot: this one publishes no environment_state"
                )
            return None
        if self._expert is None:
            return self._begin(observation, session)
        target = self._expert.command(observation.position, observation.environment)
        if target is None:
            self._end(session)
        return target

    def _begin(self, observation: Observation, session: Session) -> Array | None:
        """Lay out the next scene, or, when it is laid out, start recording it."""
        if not self._fresh:
            self._fresh = True
            _need(session, "reset")
            return None
        self._expert = self._expert_for(self._episode)
        self._expert.begin(observation.position, observation.environment)
        _need(session, "start")
        return self._expert.command(observation.position, observation.environment)

    def _end(self, session: Session) -> None:
        """Save the episode as what it was."""
        done = session.call("task_done").success
        _need(session, "save" if done else "fail")
        self._episode += 1
        self._expert, self._fresh = None, False

    @property
    def episodes_done(self) -> int:
        """How many episodes have been saved."""
        return self._episode - self._first

    @property
    def finished(self) -> bool:
        """Whether all episodes are recorded."""
        return self._episode >= self._last

    def close(self) -> None:
        """Nothing to close."""


def _need(session: Session, name: str) -> None:
    """Call a service that has to succeed."""
    answer = session.call(name)
    if not answer.success:
        raise WaldoError(f"the scripted operator cannot go on: {name} failed: {answer.message}")
