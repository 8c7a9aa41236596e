"""The operator's display: the robot's condition in letters that can be read from two meters, and lines below them.

On a terminal the display stays at the bottom and notices appear above it. Without a terminal only the notices are
printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from waldo import console
from waldo.cli.support.notices import show_notices
from waldo.collect.notice import Notice
from waldo.collect.robot_condition import RobotCondition
from waldo.robots.diagnostics import ERROR, OK, WARN

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

FONT = "ansi_regular"
"""FIGlet font of the condition: letters of solid blocks, five lines high."""

LETTER_LINES = 5
"""Height of the letters [lines]."""

COMPACT_LINES = 18
"""Height of a terminal below which the condition is one line instead of large letters [lines]."""

BANDS = {OK: "bold white on dark_green", WARN: "bold black on yellow", ERROR: "bold white on red3"}
"""Diagnostic level -> style of the band with the condition."""


class OperatorDisplay:
    """Shows the robot's condition, further lines, and notices."""

    def __init__(self, prefix: str = "") -> None:
        """Show nothing yet; `prefix` is printed before each notice."""
        from rich.live import Live

        self._print_notice = show_notices(prefix)
        self._condition: RobotCondition | None = None
        self._lines: Sequence[Text] = ()
        self._live = (
            Live(console=console.err(), auto_refresh=False, transient=True, vertical_overflow="crop")
            if console.err().is_terminal
            else None
        )

    def notice(self, notice: Notice) -> None:
        """Print a notice above the display."""
        self._print_notice(notice)

    def condition(self, condition: RobotCondition) -> None:
        """Show the robot's condition."""
        self._condition = condition
        self._refresh()

    def lines(self, lines: Sequence[Text]) -> None:
        """Show lines below the condition."""
        self._lines = lines
        self._refresh()

    def usage(self, text: str) -> None:
        """Show the keys below the condition; without a terminal, print them."""
        from rich.text import Text

        if self._live is not None:
            self._lines = [Text(text, "dim")] if text else []
        elif text:
            console.err().print(text, markup=False)

    def close(self) -> None:
        """Remove the display."""
        if self._live is not None:
            self._live.stop()

    def _refresh(self) -> None:
        if self._live is None:
            return
        if not self._live.is_started:
            self._live.start()
        self._live.update(self.render(), refresh=True)

    def render(self) -> Group:
        """Return what is shown."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.text import Text

        size = console.err().size

        def wrapped(text: Text, width: int) -> Text:
            """Return a text with line breaks: the console of notices leaves wrapping to the terminal."""
            return Text("\n").join(text.wrap(console.err(), width))

        parts: list[Padding | Text] = []
        if (condition := self._condition) is not None:
            large = size.height >= COMPACT_LINES
            word = letters(condition.word, size.width - 2) if large else condition.word
            reason = "; ".join(filter(None, (condition.reason, condition.action)))
            text = wrapped(Text(reason), size.width - 2) if reason else Text()
            text = Text("\n").join([Text(word), *([text] if reason else [])])
            parts.append(Padding(text, (0, 1), style=BANDS.get(condition.level, BANDS[ERROR])))
        return Group(*parts, *(wrapped(line, size.width) for line in self._lines))


def letters(word: str, width: int) -> str:
    """Return a word in large letters, or as it is if they are wider than `width` or cannot be encoded [columns]."""
    import pyfiglet

    if not console.err().encoding.lower().startswith("utf"):
        return word
    lines = pyfiglet.figlet_format(word, font=FONT, width=1000).splitlines()[:LETTER_LINES]
    return "\n".join(lines) if max(map(len, lines)) <= width else word
