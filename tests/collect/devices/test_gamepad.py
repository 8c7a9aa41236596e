import numpy as np
import pytest

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.gamepad import DEAD_MAN, NEXT_GROUP, Gamepad, PadState, deflections
from waldo.errors import HardwareError
from waldo.robots.description import Robot

DT_S = 1 / 60
AT_ZERO = Observation(stamp_ns=0, position=np.zeros(2), environment={})
LEFT_STICK = (-1, 0, -1, 0, 0, -1)


def pad(*buttons: int, axes: tuple[float, ...] = (0, 0, -1, 0, 0, -1), hat: tuple[int, int] = (0, 0)) -> PadState:
    return PadState(axes, hat, frozenset(buttons))


def test_sticks_become_deflections_outside_the_dead_zone() -> None:
    np.testing.assert_allclose(deflections(pad(axes=(-1, 0.1, -1, 0, 0.5, 1), hat=(0, 1))), [1, 0, -0.5, 1, 0, 1])


def test_without_the_dead_man_switch_there_is_no_command(toy_robot: Robot) -> None:
    gamepad = Gamepad(toy_robot)
    assert gamepad.drive(pad(axes=LEFT_STICK), AT_ZERO, RecordingSession(), DT_S) is None
    target = gamepad.drive(pad(DEAD_MAN, axes=LEFT_STICK), AT_ZERO, RecordingSession(), DT_S)
    assert target is not None
    assert target[0] > 0


def test_a_button_requests_its_service_when_it_is_pressed(toy_robot: Robot) -> None:
    gamepad, session = Gamepad(toy_robot), RecordingSession()
    for state in (pad(0), pad(0), pad(), pad(3), pad(1, NEXT_GROUP)):
        gamepad.drive(state, AT_ZERO, session, DT_S)
    assert session.services == ["start", "save", "stop_motion"]


def test_without_a_gamepad_it_cannot_be_opened(toy_robot: Robot) -> None:
    gamepad = Gamepad(toy_robot)
    expected = r"^no gamepad found; connect one \(ls /dev/input/js\*\), or use: waldo teleop keyboard$"
    with pytest.raises(HardwareError, match=expected):
        gamepad.open()
    gamepad.close()
