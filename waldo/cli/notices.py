"""Display of notices on standard error."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape

from waldo import console
from waldo.collect.notice import Notice
from waldo.robots.diagnostics import ERROR, OK, WARN

STYLES = {OK: "green", WARN: "yellow", ERROR: "red"}
"""Diagnostic level -> style."""


def show_notices(prefix: str, *, bell_from: int = ERROR) -> Callable[[Notice], None]:
    """Return a function that prints notices.

    Args:
        prefix: Text before each notice.
        bell_from: Lowest diagnostic level that rings the terminal's bell: the operator looks at the robot.
    """

    def show(notice: Notice) -> None:
        bell = "\a" if notice.level >= bell_from else ""
        style = STYLES.get(notice.level, "yellow")
        console.err().print(f"{bell}[{style}]{escape(prefix + notice.text)}[/{style}]")

    return show
