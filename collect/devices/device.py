"""What an operator steers with: the protocol of every teleoperation device, and what it sees and can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The robot as the operator sees it."""

    stamp_ns: int
    """When it was true [ns]."""
    position: Array
    """Joint positions, shape (joints,) [rad or m]."""
    environment: Mapping[str, float]
    """Ground truth of a simulation by name; empty on a real robot."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said."""

    success: bool
    message: str


class Session(Protocol):
    """The services that an operator can call, by name.

    On the recorder: start, stop, save, fail, discard, undo. On the robot: enable, stop_motion, reset, task_done.
    """

    def call(self, name: str) -> Answer:
        """Call a service and wait for its answer; only for operators that are programs."""
        ...

    def ask(self, name: str) -> None:
        """Call a service and show its answer when it comes: the motion goes on meanwhile."""
        ...


class Device(Protocol):
    """A teleoperation device with a dead-man: no hand on it, no command."""

    def open(self) -> None:
        """Begin to listen; raises HardwareError with what to do."""
        ...

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the joint targets (joints,) [rad or m], or None while the operator's hand is off."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the operator is done."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...
