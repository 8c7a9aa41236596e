"""Draw the image of the operator's display in the documentation (docs/operator-display.png) from the real display.

Usage: uv run python tools/operator_display.py   (needs Chromium)
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from waldo import console
from waldo.cli.support.operator_display import OperatorDisplay
from waldo.cli.support.recording_lines import recording_lines
from waldo.collect.devices.terminal_keys import HELP
from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.status import RecordingStatus, StreamStatus
from waldo.collect.robot_condition import RobotCondition
from waldo.robots.diagnostics import ERROR, OK

IMAGE = Path(__file__).parent.parent / "docs" / "operator-display.png"
PAGE = """<html><meta charset="utf-8"><body style="background:#111;margin:12px">
<pre style="font:16px/1.18 'DejaVu Sans Mono',monospace;color:#ddd;margin:0">{code}</pre></body></html>"""

STREAMS = {
    "cameras/front": StreamStatus(rate_hz=30, nominal_hz=30),
    "cameras/wrist": StreamStatus(rate_hz=24, nominal_hz=30, lost=12),
    "joints/command": StreamStatus(rate_hz=60, nominal_hz=0),
    "joints/state": StreamStatus(rate_hz=60, nominal_hz=60),
    "motors": StreamStatus(rate_hz=10, nominal_hz=10),
}
STOPPED = RobotCondition(
    word="STOPPED",
    level=ERROR,
    reason="no torque at elbow_flex (overload); support the arm",
    action="remove the cause, then press v to enable the robot",
)


def status(**values: Any) -> RecordingStatus:
    """Return the status of a recorder in its eighth episode."""
    defaults: dict[str, Any] = {"state": "recording", "seconds": 12.3, "task": "lift the blue cube"}
    fixed: dict[str, Any] = {"episode": 7, "saved": 7, "streams": STREAMS, "waiting": 0, "space": Space(7300.0)}
    return RecordingStatus(**{**defaults, **fixed, **values})


def main() -> None:
    """Draw a robot that follows and one that has stopped."""
    terminal = Console(record=True, width=80, height=24, file=io.StringIO(), force_terminal=True, highlight=False)
    console.err = lambda: Console(file=io.StringIO())  # no terminal: nothing is shown while the image is drawn
    display = OperatorDisplay()
    console.err = lambda: terminal
    for condition, shown in (
        (RobotCondition(word="FOLLOWING", level=OK), status()),
        (STOPPED, status(seconds=19.0, faults=("elbow_flex",))),
    ):
        display.condition(condition)
        display.lines(recording_lines(shown, 20, f"{HELP}   t: next task"))
        terminal.print(display.render())
        terminal.print()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "display.html"
        page.write_text(terminal.export_html(inline_styles=True, code_format=PAGE))
        browser = [str(shutil.which("chromium")), "--headless", "--no-sandbox", "--window-size=810,520"]
        subprocess.run([*browser, f"--screenshot={IMAGE}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
