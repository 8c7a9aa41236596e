"""Teleoperation devices: jogging, keys, sticks and the scripted operator."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from waldo.collect.devices.device import Answer, Observation
from waldo.collect.devices.gamepad import DEAD_MAN, NEXT_GROUP, Gamepad, Pad, deflections
from waldo.collect.devices.jog import Jog
from waldo.collect.devices.keyboard import Keyboard
from waldo.collect.devices.scripted import Scripted
from waldo.errors import HardwareError, WaldoError
from waldo.robots.description import Robot

DT = 1 / 60


class Calls:
    """A session that writes down what was asked."""

    def __init__(self, refuse: str = "", done: bool = True) -> None:
        self.names: list[str] = []
        self._refuse, self._done = refuse, done

    def call(self, name: str) -> Answer:
        self.names.append(name)
        if name == "task_done":
            return Answer(self._done, "")
        return Answer(name != self._refuse, "no room")

    def ask(self, name: str) -> None:
        self.names.append(name)


def seen(*position: float, environment: dict[str, float] | None = None) -> Observation:
    """The robot at a position."""
    return Observation(stamp_ns=0, position=np.array(position), environment=environment or {})


def test_jog_moves_by_speed_and_time(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    target = jog.step(np.zeros(2), np.array([1.0, -0.5]), DT)
    np.testing.assert_allclose(target, [1.5 * DT, -0.75 * DT])


def test_jog_does_not_wind_up_against_a_blocked_joint(toy_robot: Robot) -> None:
    jog = Jog(toy_robot, 0.5)
    for _ in range(100):
        target = jog.step(np.zeros(2), np.array([1.0, 0.0]), DT)
    assert target[0] == pytest.approx(1.5 * 0.15)


def test_a_held_key_moves_its_joint_and_release_lets_go(toy_robot: Robot) -> None:
    keyboard, calls = Keyboard(toy_robot), Calls()
    assert keyboard.step(seen(0, 0), calls, DT) is None
    keyboard.keys.press("w")
    target = keyboard.step(seen(0, 0), calls, DT)
    assert target is not None
    assert target[0] == 0.0 < target[1]
    keyboard.keys.press("a")
    target = keyboard.step(seen(0, 0), calls, DT)
    assert target is not None
    assert target[0] < 0.0
    keyboard.keys.release("w")
    keyboard.keys.release("a")
    assert keyboard.step(seen(0, 0), calls, DT) is None


def test_keys_call_services_once(toy_robot: Robot) -> None:
    keyboard, calls = Keyboard(toy_robot), Calls()
    for key in ("enter", "1", "space", "x"):
        keyboard.keys.press(key)
    keyboard.step(seen(0, 0), calls, DT)
    keyboard.step(seen(0, 0), calls, DT)
    assert calls.names == ["start", "save", "stop_motion"]


def test_a_key_beyond_the_last_joint_does_nothing(toy_robot: Robot) -> None:
    keyboard = Keyboard(toy_robot)
    keyboard.keys.press("e")
    assert keyboard.step(seen(0, 0), Calls(), DT) is None


def test_escape_ends_and_lets_go(toy_robot: Robot) -> None:
    keyboard = Keyboard(toy_robot)
    keyboard.keys.press("q")
    keyboard.keys.press("esc")
    assert keyboard.finished
    assert keyboard.step(seen(0, 0), Calls(), DT) is None


def test_the_keyboard_without_a_terminal_says_so(toy_robot: Robot) -> None:
    expected = "the keyboard device needs a terminal; run it in one, or use --device script"
    with pytest.raises(HardwareError, match=f"^{expected}$"):
        Keyboard(toy_robot).open()


def test_a_real_terminal_moves_a_joint_and_lets_go_when_the_key_stops_repeating() -> None:
    program = textwrap.dedent("""
        import sys, time
        import numpy as np
        from waldo.collect.devices.device import Observation
        from waldo.collect.devices.keyboard import Keyboard
        from waldo.robots.description import load_robot
        keyboard = Keyboard(load_robot("so101"))
        keyboard.open()
        print("ready", flush=True)
        moved = False
        seen = Observation(stamp_ns=0, position=np.zeros(6), environment={})
        while not keyboard.finished:
            target = keyboard.step(seen, None, 1 / 60)
            if target is not None and not moved:
                moved = True
                print("moved", int(np.argmax(np.abs(target))), flush=True)
            if moved and target is None:
                print("let go", flush=True)
                break
            time.sleep(0.01)
        keyboard.close()
    """)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # the terminal is put into raw mode by a thread that tells nobody when it has
    for _ in range(5):
        os.write(leader, b"w")
        time.sleep(0.03)
    assert process.stdout.readline() == "moved 1\n"
    assert process.stdout.readline() == "let go\n"
    process.communicate(timeout=120)
    os.close(leader)
    os.close(follower)


def pad(*buttons: int, axes: tuple[float, ...] = (0, 0, -1, 0, 0, -1), hat: tuple[int, int] = (0, 0)) -> Pad:
    """A gamepad with these buttons down."""
    return Pad(axes, hat, frozenset(buttons))


def test_sticks_become_deflections_outside_the_dead_zone() -> None:
    np.testing.assert_allclose(deflections(pad(axes=(-1, 0.1, -1, 0, 0.5, 1), hat=(0, 1))), [1, 0, -0.5, 1, 0, 1])


def test_without_the_dead_man_nothing_moves(toy_robot: Robot) -> None:
    gamepad = Gamepad(toy_robot)
    assert gamepad.drive(pad(axes=(-1, 0, -1, 0, 0, -1)), seen(0, 0), Calls(), DT) is None
    target = gamepad.drive(pad(DEAD_MAN, axes=(-1, 0, -1, 0, 0, -1)), seen(0, 0), Calls(), DT)
    assert target is not None
    assert target[0] > 0


def test_a_button_calls_its_service_when_it_goes_down(toy_robot: Robot) -> None:
    gamepad, calls = Gamepad(toy_robot), Calls()
    for reading in (pad(0), pad(0), pad(), pad(3), pad(1, NEXT_GROUP)):
        gamepad.drive(reading, seen(0, 0), calls, DT)
    assert calls.names == ["start", "save", "stop_motion"]


def test_no_gamepad_says_so(toy_robot: Robot) -> None:
    gamepad = Gamepad(toy_robot)
    expected = r"^no gamepad found; plug one in \(ls /dev/input/js\*\), or use --device keyboard$"
    with pytest.raises(HardwareError, match=expected):
        gamepad.open()
    gamepad.close()


class Counting:
    """An expert that gives three targets."""

    def begin(self, position: np.ndarray, environment: dict[str, float]) -> None:
        self.left = 3

    def command(self, position: np.ndarray, environment: dict[str, float]) -> np.ndarray | None:
        self.left -= 1
        return None if self.left < 0 else np.full(2, float(self.left))


def test_the_scripted_operator_records_saves_and_lays_out_the_next_scene() -> None:
    scripted, calls = Scripted(lambda n: Counting(), 2), Calls()
    now = seen(0, 0, environment={"cube.x": 1.0})
    targets = [scripted.step(now, calls, DT) for _ in range(9)]
    assert [target is not None for target in targets] == [True, True, True, False, False, True, True, True, False]
    assert calls.names == ["start", "task_done", "save", "reset", "start", "task_done", "save"]
    assert scripted.finished
    assert scripted.step(now, calls, DT) is None


def test_the_scripted_operator_keeps_a_failure_as_a_failure() -> None:
    scripted, calls = Scripted(lambda n: Counting(), 1), Calls(done=False)
    for _ in range(4):
        scripted.step(seen(0, 0, environment={"cube.x": 1.0}), calls, DT)
    assert calls.names == ["start", "task_done", "fail"]


def test_the_scripted_operator_stops_when_it_cannot_record() -> None:
    scripted = Scripted(lambda n: Counting(), 1)
    with pytest.raises(WaldoError, match=r"^the scripted operator cannot go on: start failed: no room$"):
        scripted.step(seen(0, 0, environment={"cube.x": 1.0}), Calls(refuse="start"), DT)


def test_the_scripted_operator_needs_a_simulation() -> None:
    expected = "^the scripted operator needs a simulated robot: this one publishes no environment_state$"
    scripted = Scripted(lambda n: Counting(), 1)
    assert scripted.step(seen(0, 0), Calls(), 4.0) is None
    with pytest.raises(WaldoError, match=expected):
        scripted.step(seen(0, 0), Calls(), 4.0)
