from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from tests.terminal import Terminal
from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.keyboard import Keyboard
from waldo.errors import HardwareError, UnknownNameError
from waldo.robots.description import Robot

DT_S = 1 / 60
AT_ZERO = Observation(stamp_ns=0, position=np.zeros(2), environment={})


def test_a_held_key_moves_its_joint_and_a_released_one_does_not(toy_robot: Robot) -> None:
    keyboard, session = Keyboard(toy_robot), RecordingSession()
    assert keyboard.step(AT_ZERO, session, DT_S) is None
    keyboard.keys.press("w")
    target = keyboard.step(AT_ZERO, session, DT_S)
    assert target is not None
    assert target[0] == 0.0 < target[1]
    keyboard.keys.press("a")
    target = keyboard.step(AT_ZERO, session, DT_S)
    assert target is not None
    assert target[0] < 0.0
    keyboard.keys.release("w")
    keyboard.keys.release("a")
    assert keyboard.step(AT_ZERO, session, DT_S) is None


def test_the_speed_is_an_option(toy_robot: Robot) -> None:
    keyboard = Keyboard(toy_robot, speed_ratio=0.5)
    keyboard.keys.press("q")
    np.testing.assert_allclose(keyboard.step(AT_ZERO, RecordingSession(), DT_S), [1.5 * DT_S, 0.0])
    with pytest.raises(UnknownNameError, match="did you mean 'speed_ratio'"):
        Keyboard(toy_robot, speed=0.5)


def test_a_key_requests_its_service_once(toy_robot: Robot) -> None:
    keyboard, session = Keyboard(toy_robot), RecordingSession()
    for key in ("enter", "1", "space", "x"):
        keyboard.keys.press(key)
    keyboard.step(AT_ZERO, session, DT_S)
    keyboard.step(AT_ZERO, session, DT_S)
    assert session.services == ["start", "save", "stop_motion"]


def test_a_key_without_a_function_names_those_that_have_one(toy_robot: Robot) -> None:
    keyboard, session = Keyboard(toy_robot), RecordingSession()
    for key in ("x", "e", "w", "enter"):  # e is a key of a third joint
        keyboard.keys.press(key)
    keyboard.step(AT_ZERO, session, DT_S)
    keyboard.step(AT_ZERO, session, DT_S)
    assert session.texts == [f"the key {key} has no function; keys: {Keyboard.usage}" for key in "xe"]
    assert "1: save as success" in session.texts[0]


def test_a_key_beyond_the_last_joint_has_no_effect(toy_robot: Robot) -> None:
    keyboard = Keyboard(toy_robot)
    keyboard.keys.press("e")
    assert keyboard.step(AT_ZERO, RecordingSession(), DT_S) is None


def test_escape_finishes_and_stops_commanding(toy_robot: Robot) -> None:
    keyboard = Keyboard(toy_robot)
    keyboard.keys.press("q")
    keyboard.keys.press("esc")
    assert keyboard.finished
    assert keyboard.step(AT_ZERO, RecordingSession(), DT_S) is None


def test_without_a_terminal_it_cannot_be_opened(toy_robot: Robot) -> None:
    expected = "the keyboard device requires a terminal; run it in one, or use: waldo teleop script"
    with pytest.raises(HardwareError, match=f"^{expected}$"):
        Keyboard(toy_robot).open()


def test_a_key_of_a_real_terminal_counts_as_released_when_its_repeats_stop() -> None:
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
        observation = Observation(stamp_ns=0, position=np.zeros(6), environment={})
        while not keyboard.finished:
            target = keyboard.step(observation, None, 1 / 60)
            if target is not None and not moved:
                moved = True
                print("moved", int(np.argmax(np.abs(target))), flush=True)
            if moved and target is None:
                print("released", flush=True)
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
    time.sleep(0.3)  # a thread puts the terminal into raw mode and does not signal when it has
    for _ in range(5):
        os.write(leader, b"w")
        time.sleep(0.03)
    assert process.stdout.readline() == "moved 1\n"
    assert process.stdout.readline() == "released\n"
    process.communicate(timeout=120)
    os.close(leader)
    os.close(follower)


BACKGROUND = """
import os, sys, time
from waldo.collect.devices.terminal_keys import TerminalKeys
print("foreground", TerminalKeys.available(), flush=True)
if os.fork() == 0:
    os.setpgid(0, 0)  # as a shell starts a job with &
    print("background", TerminalKeys.available(), flush=True)
    os._exit(0)
os.wait()
"""


def test_a_background_job_does_not_read_keys_since_that_would_suspend_it() -> None:
    with Terminal([sys.executable, "-c", BACKGROUND]) as terminal:
        terminal.wait_for_printed("background")
        terminal.exit_code()
        assert terminal.printed == "foreground True background False"
