"""Observations from messages: the latest robot state, with the simulation's ground truth of the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from waldo.collect.devices.device import Observation
from waldo.errors import WaldoError
from waldo.typing import Array


class MissingJointsError(WaldoError):
    """A `joint_states` message that lacks joints of the robot."""

    def __init__(self, missing: Sequence[str], received: Sequence[str]) -> None:
        """Build the message from the missing and the received joint names."""
        super().__init__(
            f"joint_states lacks joints: {', '.join(missing)} (received: {', '.join(received)}); "
            "check --robot and --namespace"
        )


class ObservationBuffer:
    """Pairs joint states with ground truth by their stamps and keeps the newest pair.

    Without a simulation every state is an observation. Once ground truth has been received, or from the start if
    `paired`, only states with ground truth of the same stamp are.
    """

    def __init__(self, joint_names: Sequence[str], *, paired: bool = False) -> None:
        self._names = tuple(joint_names)
        self._paired = paired
        self._applied: Array | None = None
        self._heat_margins: Mapping[str, float] = {}
        self._states: dict[int, Mapping[str, float]] = {}
        self._environments: dict[int, Mapping[str, float]] = {}
        self.latest: Observation | None = None
        """The newest observation; None before the first one."""

    def add_state(self, stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> None:
        """Add a robot state; raises MissingJointsError if it lacks joints of the robot."""
        missing = [name for name in self._names if name not in names]
        if missing:
            raise MissingJointsError(missing, names)
        self._states[stamp_ns] = dict(zip(names, positions, strict=True))
        self._pair()

    def add_environment(self, stamp_ns: int, names: Sequence[str], values: Sequence[float]) -> None:
        """Add the ground truth of a simulation."""
        self._paired = True
        self._environments[stamp_ns] = dict(zip(names, values, strict=True))
        self._pair()

    def add_applied(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Add the command that the robot applied; the next observations contain it."""
        applied = dict(zip(names, positions, strict=True))
        complete = all(name in applied for name in self._names)
        self._applied = np.array([applied[name] for name in self._names]) if complete else None

    def add_heat_margins(self, margins: Mapping[str, float]) -> None:
        """Add the heat margins of the motors; the next observations contain them."""
        self._heat_margins = margins

    def _pair(self) -> None:
        stamps = self._states.keys() & self._environments.keys() if self._paired else self._states.keys()
        if not stamps:
            return
        newest = max(stamps)
        state = self._states[newest]
        position = np.array([state[name] for name in self._names])
        environment = self._environments.get(newest, {})
        self.latest = Observation(
            stamp_ns=newest,
            position=position,
            environment=environment,
            applied=self._applied,
            heat_margins=self._heat_margins,
        )
        self._states = {stamp: value for stamp, value in self._states.items() if stamp > newest}
        self._environments = {stamp: value for stamp, value in self._environments.items() if stamp > newest}
