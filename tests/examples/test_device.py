"""The example of a teleoperation device passes the conformance tests, and reads its file."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo import registry
from waldo.collect.devices.conformance import DeviceConformance, RecordingSession
from waldo.collect.devices.device import Observation, make_device
from waldo.errors import HardwareError, UnknownNameError
from waldo.robots.description import load_robot

SO101 = load_robot("so101")
PATH = Path(__file__).parents[2] / "examples" / "device.py"


def load_example() -> Any:
    specification = importlib.util.spec_from_file_location("example_device", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    import sys

    sys.modules["example_device"] = module
    specification.loader.exec_module(module)
    return module


FootSwitch = load_example().FootSwitch


class TestFootSwitch(DeviceConformance):
    robot = SO101
    needs_finite_positions = True

    def make(self) -> Any:
        return FootSwitch(SO101, amplitude=0.2)

    def engage(self, device: Any) -> None:
        device.pressed = True

    def disengage(self, device: Any) -> None:
        device.pressed = False


def test_it_is_found_by_its_entry_point_and_reads_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("footswitch", "example_device:FootSwitch", "waldo.devices")
    monkeypatch.setitem(registry.entries("waldo.devices"), "footswitch", entry)
    path = tmp_path / "switch"
    os.mkfifo(path)
    device = make_device("footswitch", SO101, path=str(path), joint="wrist_roll")
    observation = Observation(stamp_ns=0, position=np.zeros(6), environment={})
    session = RecordingSession()
    device.open()
    with path.open("wb", buffering=0) as switch:
        assert device.step(observation, session, 0.5) is None
        switch.write(b"1")
        target = device.step(observation, session, 0.5)
        assert target is not None
        moved = np.flatnonzero(target)
        assert [SO101.joint_names[i] for i in moved] == ["wrist_roll"]
        switch.write(b"0")
        assert device.step(observation, session, 0.5) is None
    device.close()


def test_absent_hardware_and_unknown_joints_are_errors() -> None:
    with pytest.raises(HardwareError, match="/nowhere: No such file or directory; connect the foot switch"):
        FootSwitch(SO101, path="/nowhere").open()
    with pytest.raises(UnknownNameError, match="did you mean 'wrist_roll'"):
        FootSwitch(SO101, joint="wrist_rol")
