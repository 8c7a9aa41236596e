"""Devices are found through the registry, and every one that works offline passes the conformance tests."""

from __future__ import annotations

import sys
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from human_hand import tracked_hand
from recorded_commands import record_commands
from tested_mouse import TestedMouse
from tracking_source import TestedSource

from waldo import registry
from waldo.collect.devices.conformance import DT_S, DeviceConformance, RecordingSession
from waldo.collect.devices.device import make_device
from waldo.collect.devices.gamepad import DEAD_MAN, Gamepad, PadState
from waldo.collect.devices.headset import Headset
from waldo.collect.devices.keyboard import Keyboard
from waldo.collect.devices.leader import EngageOptions, Leader
from waldo.collect.devices.lerobot_teleop import LeRobotTeleop
from waldo.collect.devices.replay import PLAY_KEY, Replay
from waldo.collect.devices.scripted import ScriptedOperator
from waldo.collect.devices.spacemouse import SpaceMouse
from waldo.errors import HardwareError, UnknownNameError
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
        r"^unknown device 'gamepadd'; did you mean 'gamepad'\? "
        r"\(known: gamepad, headset, keyboard, leader, lerobot, replay, script, spacemouse\)$"
    )
    with pytest.raises(UnknownNameError, match=expected):
        make_device("gamepadd", toy_robot)


class TestKeyboard(DeviceConformance):
    robot = SO101
    needs_finite_positions = True

    def make(self) -> Keyboard:
        return Keyboard(SO101)

    def engage(self, device: Keyboard) -> None:
        device.keys.press("q")

    def disengage(self, device: Keyboard) -> None:
        device.keys.release("q")

    def lose_input(self, device: Keyboard) -> None:
        device.keys._thread = threading.Thread()  # the thread that read the terminal has ended


class OfflineGamepad(Gamepad):
    """A gamepad without SDL."""

    state: PadState | None = PadState((0, 0, -1, 0, 0, -1), (0, 0), frozenset())

    def read(self) -> PadState | None:
        return self.state


class TestGamepad(DeviceConformance):
    robot = SO101
    needs_finite_positions = True

    def make(self) -> OfflineGamepad:
        return OfflineGamepad(SO101)

    def engage(self, device: OfflineGamepad) -> None:
        device.state = PadState((-1, 1, 1, 1, 1, -1), (1, 1), frozenset({DEAD_MAN}))

    def disengage(self, device: OfflineGamepad) -> None:
        device.state = PadState((-1, 1, 1, 1, 1, -1), (1, 1), frozenset())

    def lose_input(self, device: OfflineGamepad) -> None:
        device.state = None

    def corrupt_input(self, device: OfflineGamepad) -> None:
        device.state = PadState((np.nan, 1, 1, 1, 1, -1), (1, 1), frozenset({DEAD_MAN}))


class OfflineLeader(Leader):
    """A leader without hardware."""

    pose: np.ndarray | None = SO101.home + 1.0

    def connect(self) -> None: ...

    def angles(self) -> np.ndarray:
        if self.pose is None:
            raise HardwareError("no answer")
        return self.pose.copy()

    def disconnect(self) -> None: ...


class TestLeader(DeviceConformance):
    robot = SO101
    needs_finite_positions = True

    def make(self) -> OfflineLeader:
        return OfflineLeader(SO101, EngageOptions(release_rad=0.5))

    def engage(self, device: OfflineLeader) -> None:
        device.pose = SO101.home + 0.1

    def disengage(self, device: OfflineLeader) -> None:
        device.pose = SO101.home + 1.0

    def lose_input(self, device: OfflineLeader) -> None:
        device.pose = None

    def corrupt_input(self, device: OfflineLeader) -> None:
        device.pose = np.full(6, np.nan)


class OfflineTeleoperator:
    """A teleoperator of LeRobot's without a motor bus."""

    degrees = 60.0
    connected = True

    def get_action(self) -> dict[str, float]:
        if not self.connected:
            raise ConnectionError("no answer")
        return {
            f"{name}.pos": np.rad2deg(home) + self.degrees
            for name, home in zip(SO101.joint_names, SO101.home, strict=True)
        }

    def disconnect(self) -> None: ...


class TestLeRobotTeleop(DeviceConformance):
    robot = SO101
    needs_finite_positions = True

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

    def lose_input(self, device: LeRobotTeleop) -> None:
        device._device.connected = False

    def corrupt_input(self, device: LeRobotTeleop) -> None:
        device._device.degrees = np.nan


class TestHeadset(DeviceConformance):
    """Two controllers that control two arms."""

    robot = load_robot("bi_so101")
    needs_finite_positions = True
    max_jump = 0.05

    def make(self) -> Headset:
        self.source = TestedSource()
        return Headset(self.robot, source=self.source, clock_ns=self.source.clock_ns)

    def engage(self, device: Headset) -> None:
        self.source.squeeze(0.0)
        assert device.step(self.observe(), RecordingSession(), DT_S) is None
        self.source.squeeze(1.0)

    def disengage(self, device: Headset) -> None:
        self.source.squeeze(0.0)

    def lose_input(self, device: Headset) -> None:
        self.source.now_ns += 100_000_000

    def corrupt_input(self, device: Headset) -> None:
        self.source.hand("left", pose=np.full((4, 4), np.nan))


class TestBareHands(TestHeadset):
    """Two bare hands that control the arms and hands of a G1."""

    robot = load_robot("g1_dex3")

    def make(self) -> Headset:
        self.source = TestedSource(bare=True)
        return Headset(self.robot, source=self.source, clock_ns=self.source.clock_ns)

    def fold(self, curl: float) -> None:
        for side in ("left", "right"):
            self.source.hand(side, joints=tracked_hand(side, curl={"ring": curl, "pinky": curl}).joints)

    def engage(self, device: Headset) -> None:
        self.fold(0.0)
        assert device.step(self.observe(), RecordingSession(), DT_S) is None
        self.fold(1.0)

    def disengage(self, device: Headset) -> None:
        self.fold(0.0)

    def lose_input(self, device: Headset) -> None:
        self.source.hand("right", tracked=False)

    def corrupt_input(self, device: Headset) -> None:
        joints = tracked_hand("left", curl=1.0).joints
        joints[12, 1] = np.nan
        self.source.hand("left", joints=joints)


class TestSpaceMouse(DeviceConformance):
    robot = SO101
    needs_finite_positions = True
    max_jump = 0.1

    def make(self) -> SpaceMouse:
        self.mouse = TestedMouse()
        device = SpaceMouse(SO101, make_reader=lambda: self.mouse)
        device.open()
        return device

    def engage(self, device: SpaceMouse) -> None:
        self.mouse.press(False)
        assert device.step(self.observe(), RecordingSession(), DT_S) is None
        self.mouse.press(True)
        self.mouse.linear[:] = 1.0, -0.5, 0.3

    def disengage(self, device: SpaceMouse) -> None:
        self.mouse.press(False)

    def lose_input(self, device: SpaceMouse) -> None:
        self.mouse.connected = False

    def corrupt_input(self, device: SpaceMouse) -> None:
        self.mouse.linear[0] = np.nan


class TestReplay(DeviceConformance):
    robot = SO101
    needs_finite_positions = True
    max_jump = 0.05

    @pytest.fixture(autouse=True)
    def episode(self, tmp_path: Path) -> None:
        self.path = record_commands(tmp_path / "data", SO101, SO101.home + 0.1 * np.sin(np.arange(300) / 30)[:, None])

    def make(self) -> Replay:
        return Replay(SO101, path=str(self.path))

    def engage(self, device: Replay) -> None:
        device.keys.press(PLAY_KEY)

    def disengage(self, device: Replay) -> None:
        device.keys.release(PLAY_KEY)

    def lose_input(self, device: Replay) -> None:
        device.keys._thread = threading.Thread()  # the thread that read the terminal has ended


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
