import pytest

from waldo import console
from waldo.cli.notices import show_notices
from waldo.collect.notice import Notice
from waldo.robots.diagnostics import ERROR, OK, WARN


@pytest.mark.parametrize(
    ("notice", "printed"),
    [
        (Notice(level=OK, text="robot: following"), "recorder: robot: following"),
        (Notice(level=WARN, text="a [b] c"), "recorder: a [b] c"),
        (Notice(level=ERROR, text="disk full"), "\arecorder: disk full"),
        (Notice(level=OK, text="save: ok", confirmation=True), "\arecorder: save: ok"),
    ],
)
def test_notices_are_printed_literally_and_errors_and_confirmations_ring(
    notice: Notice, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console.err.cache_clear()
    try:
        show_notices("recorder: ")(notice)
    finally:
        console.err.cache_clear()
    assert capsys.readouterr().err == printed + "\n"
