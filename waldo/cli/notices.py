"""Display of notices on standard error."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape

from waldo import console
from waldo.collect.notice import Notice
from waldo.robots.diagnostics import ERROR, OK, WARN

STYLES = {OK: "green", WARN: "yellow", ERROR: "red"}
"""Diagnostic level -> style."""


def show_notices(prefix: str = "") -> Callable[[Notice], None]:
    """Return a function that prints notices after a prefix; errors and confirmations ring the terminal's bell."""

    def show(notice: Notice) -> None:
        bell = "\a" if notice.confirmation or notice.level >= ERROR else ""
        style = STYLES.get(notice.level, "yellow")
        console.err().print(f"{bell}[{style}]{escape(prefix + notice.text)}[/{style}]")

    return show
