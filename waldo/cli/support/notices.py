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
        style = STYLES.get(notice.level, "yellow")
        console.err().print(f"[{style}]{escape(prefix + notice.text)}[/{style}]")
        if notice.confirmation or notice.level >= ERROR:
            console.err().bell()  # rich removes "\\a" from printed text

    return show
