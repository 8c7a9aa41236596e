import io

import pytest
from rich.console import Console

from waldo import console
from waldo.cli.support.notices import show_notices
from waldo.collect.notice import Notice
from waldo.robots.diagnostics import ERROR, OK, WARN


@pytest.mark.parametrize(
    ("notice", "printed"),
    [
        (Notice(level=OK, text="robot: following"), "recorder: robot: following\n"),
        (Notice(level=WARN, text="a [b] c"), "recorder: a [b] c\n"),
        (Notice(level=ERROR, text="disk full"), "recorder: disk full\n\a"),
        (Notice(level=OK, text="save: ok", confirmation=True), "recorder: save: ok\n\a"),
    ],
)
def test_notices_are_printed_literally_and_errors_and_confirmations_ring(
    notice: Notice, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, color_system=None, soft_wrap=True)
    monkeypatch.setattr(console, "err", lambda: terminal)
    show_notices("recorder: ")(notice)
    assert terminal.file.getvalue() == printed  # type: ignore[attr-defined]
