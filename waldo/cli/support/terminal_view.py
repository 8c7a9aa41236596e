"""The recorder in a terminal: its display and its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waldo.cli.support.operator_display import OperatorDisplay
from waldo.cli.support.recording_lines import recording_lines
from waldo.collect.devices.terminal_keys import HELP, SERVICE_KEYS, TerminalKeys
from waldo.collect.notice import Notice
from waldo.collect.recorder.operator_view import OperatorView
from waldo.robots.diagnostics import WARN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waldo.collect.recorder.status import RecordingStatus
    from waldo.collect.robot_condition import RobotCondition


class TerminalView(OperatorView):
    """Shows the recorder in this terminal, and reads its keys where the terminal can be read."""

    def __init__(
        self, keys: Mapping[str, str], usage: str, goal: int, on_key: Callable[[str], bool] = lambda _: False
    ) -> None:
        """Initialize.

        Args:
            keys: Key -> request, beside those that every device has.
            usage: These keys, for the operator.
            goal: Number of episodes to record; 0 for no goal.
            on_key: Called for a key that makes no request; returns whether the key has a function.
        """
        self._display = OperatorDisplay("recorder: ")
        self._usage, self._goal = f"{HELP}   {usage}", goal
        self._keys = TerminalKeys(on_key, services={**SERVICE_KEYS, **keys}, usage=self._usage)
        if not self._keys.available():
            self._usage = ""

    def open(self) -> None:
        """Begin to read keys."""
        if self._usage:
            self._keys.open()

    @property
    def finished(self) -> bool:
        """Whether the operator has quit."""
        return self._keys.finished

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._keys.close()
        self._display.close()

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._display.notice(Notice(level=WARN, text=text))

    def notice(self, notice: Notice) -> None:
        """Show a notice."""
        self._display.notice(notice)

    def status(self, status: RecordingStatus) -> None:
        """Show the recorder's status."""
        self._display.lines(recording_lines(status, self._goal, self._usage))

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition."""
        self._display.condition(condition)

    def take_requests(self) -> list[str]:
        """Return the requests of the keys since the last call."""
        for text in self._keys.take_notices():
            self.warn(text)
        return self._keys.take_requests()
