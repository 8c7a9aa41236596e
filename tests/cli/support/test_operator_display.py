"""The operator's display, as a terminal of 80x24 shows it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.text import Text

from tests.terminal import COLUMNS, Terminal
from waldo.cli.support.operator_display import letters
from waldo.cli.support.recording_lines import recording_lines
from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.status import RecordingStatus, StreamStatus

PROGRAM = """
import sys
from rich.text import Text
from waldo.cli.support.operator_display import OperatorDisplay
from waldo.collect.notice import Notice
from waldo.collect.robot_condition import RobotCondition, DISCONNECTED
display = OperatorDisplay("recorder: ")
display.lines([Text(" RECORDING  0:12", "bold white on red"), Text("keys " * 30)])
for number in range(40):
    display.notice(Notice(text=f"notice {number}"))
conditions = {
    "f": RobotCondition(word="FOLLOWING", level=0),
    "h": RobotCondition(word="HOLDING", level=1, reason="no command for 0.2 s"),
    "s": RobotCondition(word="STOPPED", level=2, reason="stopped by the operator", action="press v"),
    "d": DISCONNECTED,
}
for line in sys.stdin:
    display.condition(conditions[line.strip()])
    display.notice(Notice(level=2, text=f"changed to {line.strip()}"))
display.close()
"""


@pytest.mark.parametrize(
    ("key", "word", "color", "text"),
    [
        ("f", "FOLLOWING", "005f00", ""),
        ("h", "HOLDING", "brown", "no command for 0.2 s"),
        ("s", "STOPPED", "d70000", "stopped by the operator; press v"),
        ("d", "NO ROBOT", "d70000", "disconnected: no state from the robot node; check that waldo robot is running"),
    ],
)
def test_the_condition_is_large_and_stays_on_the_screen(key: str, word: str, color: str, text: str) -> None:
    with Terminal([sys.executable, "-c", PROGRAM]) as terminal:
        terminal.wait_for("notice 39")
        terminal.press(f"{key}\n")
        terminal.wait_for(f"changed to {key}")
        expected = [line.rstrip() for line in letters(word, COLUMNS - 2).splitlines()]
        assert len(expected) == 5
        screen = terminal.screen
        first = next(i for i, line in enumerate(screen) if line.strip() == expected[0].strip())
        assert [line.rstrip() for line in screen[first : first + 5]] == [f" {line}".rstrip() for line in expected]
        assert [terminal.background(first + line) for line in range(5)] == [color] * 5
        assert terminal.shows(text)
        # The lines below it are complete, and the notices above.
        assert terminal.shows("RECORDING 0:12")
        assert terminal.shows("keys " * 30)
        terminal.wait_for_printed("\a")  # it follows the notice


def test_the_letters_fit_a_terminal_of_80_columns() -> None:
    for word in ("FOLLOWING", "HOLDING", "STOPPED", "NO ROBOT", "CONNECTED"):
        lines = letters(word, COLUMNS - 2).splitlines()
        assert len(lines) == 5
        assert max(map(len, lines)) <= COLUMNS - 2
    assert letters("FOLLOWING", 40) == "FOLLOWING"


def test_without_a_terminal_only_notices_are_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input="f\n", capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == [*(f"recorder: notice {i}" for i in range(40)), "recorder: changed to f"]


def status(**values: object) -> RecordingStatus:
    defaults: dict[str, object] = {
        "state": "recording",
        "task": "lift the red cube",
        "episode": 7,
        "saved": 3,
        "seconds": 72.4,
        "streams": {
            "joints/state": StreamStatus(rate_hz=60.2, nominal_hz=60),
            "cameras/front": StreamStatus(rate_hz=20, nominal_hz=30, lost=12),
            "cameras/wrist": StreamStatus(rate_hz=0, nominal_hz=30, stopped=True),
        },
        "waiting": 0,
        "space": Space(7200.0),
    }
    return RecordingStatus(**{**defaults, **values})  # type: ignore[arg-type]


def styles(lines: list[Text]) -> dict[str, str]:
    """Return text -> style of each styled part."""
    return {line.plain[span.start : span.end]: str(span.style) for line in lines for span in line.spans}


def test_the_recorder_shows_the_episode_its_streams_and_the_disk() -> None:
    lines = recording_lines(status(faults=("elbow_flex",)), goal=20, keys="enter: start")
    assert [line.plain for line in lines] == [
        " RECORDING  1:12  episode 7   3 of 20 saved   lift the red cube",
        "joints/state 60 Hz   cameras/front 20 Hz 12 lost   cameras/wrist NO MESSAGES",
        "disk: 120 min remaining   faults: elbow_flex",
        "enter: start",
    ]
    found = styles(lines)
    assert found["joints/state 60 Hz"] == "green"
    assert found["cameras/front 20 Hz 12 lost"] == "yellow"
    assert found["cameras/wrist NO MESSAGES"] == "bold red"


def test_the_lines_of_an_idle_recorder_have_no_time() -> None:
    lines = recording_lines(status(state="idle", seconds=0.0, streams={}, space=Space(60.0)))
    assert [line.plain for line in lines] == [
        " idle  episode 7   3 saved   lift the red cube",
        "disk: 1 min remaining",
    ]
    assert str(lines[1].style) == "yellow"
