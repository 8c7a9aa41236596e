"""Statuses of components: what counts as a change, and what is logged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from waldo.robots.control.changes import ChangeFilter
from waldo.robots.control.components import ComponentMonitor, camera_status, control_status, merge_faults
from waldo.robots.control.motor_alarms import MotorAlarms
from waldo.robots.control.safety import NOT_COMMANDED, Mode, Status
from waldo.robots.diagnostics import ERROR, OK, WARN, component_message, components_from_message
from waldo.robots.event import Event
from waldo.robots.motor_readings import MotorReadings, motor_quantities


@pytest.mark.parametrize(
    ("first", "second", "changed"),
    [
        ("b is 1.9 K below its heat limit", "b is 1.2 K below its heat limit", False),
        ("at -0.25 rad", "at 12 rad", False),
        ("joint1 is 1.9 K below its heat limit", "joint2 is 1.9 K below its heat limit", True),
        ("slowed to 60%", "slowed to 55%", False),
        ("slowed to 60%", "full speed", True),
    ],
)
def test_figures_are_not_a_change(first: str, second: str, changed: bool) -> None:
    changes = ChangeFilter()
    assert changes.changed("key", first)
    assert changes.changed("key", second) is changed
    assert changes.changed("another key", second)
    assert not ChangeFilter().changed("key", "")


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (Status(Mode.FOLLOWING, ""), OK),
        (Status(Mode.HOLDING, NOT_COMMANDED), OK),
        (Status(Mode.HOLDING, "no command for 0.2 s"), WARN),
        (Status(Mode.STOPPED, "stopped by the operator"), ERROR),
    ],
)
def test_the_level_of_the_control_mode(status: Status, level: int) -> None:
    found = control_status(status, 60.0)
    assert found.level == level
    assert found.values == {"mode": status.mode.value, "reason": status.reason, "rate_hertz": "60"}


def test_a_level_is_a_change_too() -> None:
    monitor = ComponentMonitor(100)
    calm = [camera_status("front", "")]
    assert monitor.update(calm)[0]
    assert monitor.update(calm) == (False, [])
    assert monitor.update([replace(calm[0], level=ERROR)])[0]


def test_cameras_log_their_own_events() -> None:
    monitor = ComponentMonitor(100)
    monitor.update([camera_status("front", "")])
    assert monitor.update([camera_status("front", "disconnected")]) == (True, [])


def test_statuses_survive_the_message() -> None:
    statuses = [
        control_status(Status(Mode.STOPPED, "stopped by the operator"), 60.0),
        camera_status("front", "disconnected"),
    ]
    message = component_message("arm", statuses, 5_000_000_000)
    assert [status.name for status in message.status] == ["arm: control", "arm: camera front"]
    assert components_from_message(message) == {status.component: status for status in statuses}


def test_faults_of_several_monitors_are_joined() -> None:
    assert merge_faults([{"front": "", "wrist": "x"}, {"front": "a"}, {"front": "b"}]) == {
        "front": "a; b",
        "wrist": "x",
    }


def readings(winding_c: float, note: str = "") -> MotorReadings:
    columns = {quantity.attribute: np.full(1, np.nan) for quantity in motor_quantities()}
    columns |= {"winding_c": np.full(1, winding_c), "limit_c": np.full(1, 70.0)}
    return MotorReadings(**columns, notes=(note,))


def test_heat_levels_are_logged_once_with_hysteresis() -> None:
    alarms = MotorAlarms(["a"])
    levels = [
        [event.level for event in alarms.update(readings(winding_c))]
        for winding_c in (40.0, 54.9, 55.0, 54.0, 56.0, 52.9, 55.0, 70.0, 69.0, 67.9, 40.0)
    ]
    assert levels == [[], [], [WARN], [], [], [OK], [WARN], [ERROR], [], [WARN], [OK]]


def test_an_unknown_temperature_keeps_the_level() -> None:
    alarms = MotorAlarms(["a"])
    assert alarms.update(readings(60.0)) == [Event("motor a: winding at 60.0 °C, 10.0 K below the limit", WARN)]
    assert alarms.update(readings(np.nan)) == []
    assert alarms.update(readings(60.0)) == []


def test_notes_are_logged_on_change() -> None:
    alarms = MotorAlarms(["a"])
    assert alarms.update(readings(40.0, "overload")) == [Event("motor a: overload", WARN)]
    assert alarms.update(readings(40.0, "overload")) == []
    assert alarms.update(readings(40.0)) == [Event("motor a: fault cleared", OK)]
