"""Tests that every teleoperation device must pass: subclass `DeviceConformance` in a test file.

::

    class TestMyDevice(DeviceConformance):
        def make(self) -> MyDevice:
            return MyDevice(robot)

        def engage(self, device: MyDevice) -> None:
            device.pedal = True

        def disengage(self, device: MyDevice) -> None:
            device.pedal = False

The tests do not call `open`, which needs hardware; `make` returns a device that works offline. Two more hooks have a
default: override `lose_input` for a device whose input can be lost (a cable, a network, a tracked hand), and
`corrupt_input` for one whose input consists of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from waldo.collect.devices.device import Observation, ServiceResponse
from waldo.robots.description import Robot
from waldo.robots.diagnostics import OK
from waldo.typing import Array

DT_S = 1 / 60
"""Duration of a cycle [s]."""

MAX_JUMP = 1.0
"""Default of the maximum distance of the first target from the robot [rad or m]."""

AWAY_FROM_HOME = 0.2
"""Distance of each joint from home in a test that engages elsewhere [rad or m]."""


class RecordingSession:
    """A Session that records calls and lets every service succeed."""

    def __init__(self) -> None:
        self.services: list[str] = []
        self.texts: list[str] = []

    def call(self, name: str) -> ServiceResponse:
        """Record a call."""
        self.services.append(name)
        return ServiceResponse(True, "")

    def request(self, name: str) -> None:
        """Record a request."""
        self.services.append(name)

    def notify(self, text: str, level: int = OK) -> None:
        """Record a text."""
        self.texts.append(text)


class DeviceConformance:
    """The tests; each gets a new device."""

    robot: Robot
    """The robot that the device commands, set by the subclass or by a fixture."""
    environment: Mapping[str, float] = {}
    """Ground truth of the observations, for devices that require a simulation."""
    needs_finite_positions: bool = False
    """Whether the device computes targets from measured positions, and must stop when one is not finite."""
    max_jump: float = MAX_JUMP
    """Maximum distance of the first target from the robot [rad or m]; lower it to what the device promises."""

    def make(self) -> Any:
        """Return a device that works without hardware."""
        raise NotImplementedError

    def engage(self, device: Any) -> None:
        """Do what the operator does to move the robot."""
        raise NotImplementedError

    def disengage(self, device: Any) -> None:
        """Do what the operator does to let go."""
        raise NotImplementedError

    def lose_input(self, device: Any) -> None:
        """Interrupt the device's input while the operator is engaged; by default, let go."""
        self.disengage(device)

    def corrupt_input(self, device: Any) -> None:
        """Make a number of the device's input NaN while the operator is engaged; by default, nothing."""

    @pytest.fixture
    def device(self) -> Any:
        """Return a new device."""
        return self.make()

    def observe(self, position: Array | None = None) -> Observation:
        """Return an observation at a position, by default the robot's home."""
        at = self.robot.home.copy() if position is None else position
        return Observation(stamp_ns=0, position=at, environment=self.environment)

    def engaged_targets(self, device: Any, cycles: int = 60, start: Array | None = None) -> list[Array]:
        """Return the targets of engaged cycles in which the robot follows them, from home or another position."""
        self.engage(device)
        found: list[Array] = []
        position = self.robot.home.copy() if start is None else start.copy()
        for _ in range(cycles):
            target = device.step(self.observe(position.copy()), RecordingSession(), DT_S)
            if target is not None:
                found.append(np.array(target))
                position = found[-1]
        return found

    def test_a_new_device_is_not_finished(self, device: Any) -> None:
        """`finished` becomes true when the operator quits."""
        assert device.finished is False

    def test_it_commands_nothing_before_the_operator_engages(self, device: Any) -> None:
        """The dead-man principle."""
        assert all(device.step(self.observe(), RecordingSession(), DT_S) is None for _ in range(5))

    def test_targets_are_finite_float64_within_the_limits(self, device: Any) -> None:
        """Every target has the shape (joints,)."""
        targets = self.engaged_targets(device)
        assert targets
        for target in targets:
            assert target.shape == (len(self.robot.joints),)
            assert target.dtype == np.float64
            assert np.isfinite(target).all()
            assert (target >= self.robot.lower - 1e-9).all()
            assert (target <= self.robot.upper + 1e-9).all()

    def test_the_first_target_is_near_the_robot(self, device: Any) -> None:
        """The safety chain refuses a jump when the operator engages."""
        first = self.engaged_targets(device, 5)[0]
        assert np.abs(first - self.robot.home).max() <= self.max_jump

    def test_engaging_away_from_home_does_not_jump(self, device: Any) -> None:
        """The first target is near where the robot is measured, or the device does not engage."""
        away = np.clip(self.robot.home + AWAY_FROM_HOME, self.robot.lower, self.robot.upper)
        for first in self.engaged_targets(device, 5, away)[:1]:
            assert np.abs(first - away).max() <= self.max_jump

    def test_it_stops_commanding_when_the_operator_lets_go(self, device: Any) -> None:
        """The cycle after letting go has no targets."""
        assert self.engaged_targets(device, 5)
        self.disengage(device)
        assert device.step(self.observe(), RecordingSession(), DT_S) is None

    def test_lost_input_stops_it_within_one_cycle(self, device: Any) -> None:
        """The cycle after the input is lost has no targets."""
        assert self.engaged_targets(device, 5)
        self.lose_input(device)
        assert device.step(self.observe(), RecordingSession(), DT_S) is None

    def test_a_number_that_is_not_finite_never_passes(self, device: Any) -> None:
        """NaN in the input stops the device, or has no effect."""
        assert self.engaged_targets(device, 5)
        self.corrupt_input(device)
        target = device.step(self.observe(), RecordingSession(), DT_S)
        assert target is None or np.isfinite(target).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_measured_position_that_is_not_finite_never_passes(self, device: Any, value: float) -> None:
        """It stops a device that computes targets from it, when it is engaged and while it is."""
        for cycles in (0, 5) if self.needs_finite_positions else ():
            assert len(self.engaged_targets(device, cycles)) == cycles
            position = self.robot.home.copy()
            position[0] = value
            target = device.step(self.observe(position), RecordingSession(), DT_S)
            assert target is None or np.isfinite(target).all()
            self.disengage(device)
            device.step(self.observe(), RecordingSession(), DT_S)

    def test_it_engages_again(self, device: Any) -> None:
        """Letting go is not final."""
        assert self.engaged_targets(device, 5)
        self.disengage(device)
        device.step(self.observe(), RecordingSession(), DT_S)
        assert self.engaged_targets(device, 5)

    def test_an_observation_is_not_modified(self, device: Any) -> None:
        """Targets are a new array."""
        self.engage(device)
        observation = self.observe()
        before = observation.position.copy()
        target = device.step(observation, RecordingSession(), DT_S)
        if target is not None:
            target += 1.0
        np.testing.assert_array_equal(observation.position, before)

    def test_close_may_be_called_without_open_and_twice(self, device: Any) -> None:
        """A program closes a device whatever happened before."""
        device.close()
        device.close()
