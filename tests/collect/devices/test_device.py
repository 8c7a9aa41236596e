"""Devices are found through the registry, and every one that works offline passes the conformance tests."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from waldo import registry
from waldo.collect.devices.conformance import DeviceConformance
from waldo.collect.devices.device import make_device
from waldo.collect.devices.gamepad import DEAD_MAN, Gamepad, PadState
from waldo.collect.devices.keyboard import Keyboard
from waldo.collect.devices.leader import EngageOptions, Leader
from waldo.collect.devices.lerobot_teleop import LeRobotTeleop
from waldo.collect.devices.scripted import ScriptedOperator
from waldo.errors import UnknownNameError
from waldo.robots.description import Robot, load_robot

SO101 = load_robot("so101")


def test_a_third_party_device_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch, toy_robot: Robot) -> None:
    module = ModuleType("third_party_device")
    module.Pedal = lambda robot, **options: (robot.name, options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = EntryPoint("pedal", "third_party_device:Pedal", "waldo.devices")
    monkeypatch.setitem(registry.entries("waldo.devices"), "pedal", entry)
    assert make_device("pedal", toy_robot, port="/dev/x") == ("toy", {"port": "/dev/x"})


def test_an_unknown_device_is_refused_with_the_known_names(toy_robot: Robot) -> None:
    expected = (
        r"^unknown device 'gamepadd'; did you mean 'gamepad'\? \(known: gamepad, keyboard, leader, lerobot, script\)$"
    )
    with pytest.raises(UnknownNameError, match=expected):
        make_device("gamepadd", toy_robot)


class TestKeyboard(DeviceConformance):
    robot = SO101

    def make(self) -> Keyboard:
        return Keyboard(SO101)

    def engage(self, device: Keyboard) -> None:
        device.keys.press("q")

    def disengage(self, device: Keyboard) -> None:
        device.keys.release("q")


class OfflineGamepad(Gamepad):
    """A gamepad without SDL."""

    state = PadState((0, 0, -1, 0, 0, -1), (0, 0), frozenset())

    def read(self) -> PadState:
        return self.state


class TestGamepad(DeviceConformance):
    robot = SO101

    def make(self) -> OfflineGamepad:
        return OfflineGamepad(SO101)

    def engage(self, device: OfflineGamepad) -> None:
        device.state = PadState((-1, 1, 1, 1, 1, -1), (1, 1), frozenset({DEAD_MAN}))

    def disengage(self, device: OfflineGamepad) -> None:
        device.state = PadState((-1, 1, 1, 1, 1, -1), (1, 1), frozenset())


class OfflineLeader(Leader):
    """A leader without hardware."""

    pose = SO101.home + 1.0

    def connect(self) -> None: ...

    def angles(self) -> np.ndarray:
        return self.pose.copy()

    def disconnect(self) -> None: ...


class TestLeader(DeviceConformance):
    robot = SO101

    def make(self) -> OfflineLeader:
        return OfflineLeader(SO101, EngageOptions(release_rad=0.5))

    def engage(self, device: OfflineLeader) -> None:
        device.pose = SO101.home + 0.1

    def disengage(self, device: OfflineLeader) -> None:
        device.pose = SO101.home + 1.0


class OfflineTeleoperator:
    """A teleoperator of LeRobot's without a motor bus."""

    degrees = 60.0

    def get_action(self) -> dict[str, float]:
        return {
            f"{name}.pos": np.rad2deg(home) + self.degrees
            for name, home in zip(SO101.joint_names, SO101.home, strict=True)
        }

    def disconnect(self) -> None: ...


class TestLeRobotTeleop(DeviceConformance):
    robot = SO101

    def make(self) -> LeRobotTeleop:
        from waldo.robots.drivers.lerobot.units import Units

        device = LeRobotTeleop(SO101, release_rad=0.5)
        device._device = OfflineTeleoperator()
        device._units = Units(device._device, SO101, SO101.joint_names, ["degrees"])
        return device

    def engage(self, device: LeRobotTeleop) -> None:
        device._device.degrees = 5.0

    def disengage(self, device: LeRobotTeleop) -> None:
        device._device.degrees = 60.0


class Switched:
    """An expert that commands while a switch is on and is done when it is off."""

    on = False

    def begin(self, position: np.ndarray, environment: Any) -> None: ...

    def command(self, position: np.ndarray, environment: Any) -> np.ndarray | None:
        return SO101.home.copy() if self.on else None


class TestScriptedOperator(DeviceConformance):
    robot = SO101
    environment = {"cube.x": 0.0}  # noqa: RUF012

    def make(self) -> ScriptedOperator:
        self.expert = Switched()
        return ScriptedOperator(lambda _: self.expert, 100)

    def engage(self, device: ScriptedOperator) -> None:
        self.expert.on = True

    def disengage(self, device: ScriptedOperator) -> None:
        self.expert.on = False
