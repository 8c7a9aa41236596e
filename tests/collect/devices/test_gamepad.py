import numpy as np
import pytest

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.gamepad import (
    DEAD_MAN,
    HEAT_S,
    HOT_MARGIN,
    LIMIT_S,
    NEXT_GROUP,
    Gamepad,
    PadState,
    deflections,
)
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


class Pad(Gamepad):
    """A gamepad that records its vibrations."""

    def __init__(self, robot: Robot) -> None:
        super().__init__(robot)
        self.vibrations: list[tuple[float, float]] = []

    def vibrate(self, low: float, high: float, seconds: float) -> None:
        self.vibrations.append((low, high))


def test_it_vibrates_at_a_limit_that_is_pushed_against_and_not_beside_it(toy_robot: Robot) -> None:
    gamepad = Pad(toy_robot)
    at_limit = Observation(stamp_ns=0, position=toy_robot.upper.copy(), environment={})
    gamepad.drive(pad(DEAD_MAN, axes=(1, 0, -1, 0, 0, -1)), at_limit, RecordingSession(), DT_S)
    assert gamepad.vibrations == []
    for _ in range(6):
        gamepad.drive(pad(DEAD_MAN, axes=LEFT_STICK), at_limit, RecordingSession(), DT_S)
    assert gamepad.vibrations == [(0.0, 0.6)]
    for _ in range(round(LIMIT_S / DT_S) + 1):
        gamepad.drive(pad(DEAD_MAN, axes=LEFT_STICK), at_limit, RecordingSession(), DT_S)
    assert len(gamepad.vibrations) == 2


def test_it_vibrates_at_intervals_near_a_heat_limit_while_the_operator_moves(toy_robot: Robot) -> None:
    gamepad = Pad(toy_robot)
    hot = Observation(stamp_ns=0, position=np.zeros(2), environment={}, heat_margins={"a": HOT_MARGIN - 0.01, "b": 1.0})
    cool = Observation(stamp_ns=0, position=np.zeros(2), environment={}, heat_margins={"a": HOT_MARGIN + 0.01})
    gamepad.drive(pad(), hot, RecordingSession(), DT_S)
    gamepad.drive(pad(DEAD_MAN), cool, RecordingSession(), DT_S)
    assert gamepad.vibrations == []
    for _ in range(round(1.5 * HEAT_S / DT_S)):
        gamepad.drive(pad(DEAD_MAN), hot, RecordingSession(), DT_S)
    assert gamepad.vibrations == [(0.8, 0.0)] * 2
