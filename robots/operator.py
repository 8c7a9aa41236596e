"""The interface between the robot node and an operator's device in the same process.

Its commands reach the control cycle without a message in between, in the cycle in which the device was read. They are
published as well, for the recorder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from waldo.robots.driver import RobotState


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a device; without joints, the operator has let go."""

    names: Sequence[str]
    """The commanded joints."""
    positions: Sequence[float]
    """Their targets [rad or m]."""
    stamp_ns: int
    """Time at which the device was read [ns since the epoch]."""


class LocalOperator(Protocol):
    """An operator's device in the robot's process."""

    def command(self, state: RobotState) -> Command | None:
        """Read the device, given the newest state of the robot, and return its command.

        None if the operator is not engaged, or the device is not ready within a control cycle.
        """
        ...

    def report(self, command: Command | None) -> None:
        """Publish a command that was followed, and pass on what the device requests and notifies."""
        ...
