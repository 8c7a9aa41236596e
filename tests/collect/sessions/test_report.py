"""The report of a session."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.recordings import Script
from waldo.cli.main import main
from waldo.collect.sessions.plan import PlannedTask, SessionPlan
from waldo.collect.sessions.report import ADVICE, PAUSE_S, EpisodeLine, _work_s, session_report, write_report
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.rules import KINDS, Rules
from waldo.errors import NoMatchError
from waldo.robots.description import Robot


@pytest.fixture
def dataset(record: Callable[..., Dataset], robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)
    monkeypatch.setattr("waldo.collect.sessions.report.load_robot", lambda name: robot)
    return record(
        Script(seconds=2.0),
        Script(seconds=2.0, outcome="failure", frozen={"cameras/front": range(15, 45)}),
        Script(seconds=3.0, task="<b>stack</b>", without_rows=range(60, 66), winding_c=71.0),
    )


def test_a_report_counts_what_the_session_has_brought(dataset: Dataset) -> None:
    done: list[tuple[int, int]] = []
    report = session_report(dataset, rules=Rules(), progress=lambda *pair: done.append(pair))
    assert (report.successes, len(report.episodes), report.clean, report.lost) == (2, 3, 1, 6)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert report.recorded_s == pytest.approx(7.0, abs=0.1)
    assert report.limit_c == 70.0
    assert {fix.kind: fix.episodes for fix in report.fixes} == {"frozen": 1, "loss": 1, "gap": 1, "heat": 1}
    assert {one.name: one.lost for one in report.streams}["joints/state"] == 6
    # The rules that it is judged by are those of the caller.
    assert session_report(dataset, rules=Rules(frozen_s=5.0, lost_messages=10, gap_periods=20)).clean == 2


def test_the_page_is_whole_escaped_and_without_scripts(dataset: Dataset, tmp_path: Path) -> None:
    write_report(session_report(dataset), tmp_path / "session.html")
    text = (tmp_path / "session.html").read_text()
    assert "<script" not in text
    assert "&lt;b&gt;stack&lt;/b&gt;" in text
    open_tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "line", "polyline"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

    Parser().feed(text)
    assert open_tags == []


def test_progress_is_that_of_the_plan(locked: Dataset, streams: object, play: Callable[..., None]) -> None:
    plan = SessionPlan(name="kitchen", tasks=(PlannedTask(instructions=("lift", "open"), episodes=2),))
    for cell, outcome in ((0, "success"), (1, "failure"), (1, "success")):
        writer = locked.begin(streams, plan.cells[cell].attributes("kitchen"), back_pressure="wait")  # type: ignore[arg-type]
        play(writer, Script())
        writer.save(outcome)
    writer = locked.begin(streams, {"task": "of no plan"}, back_pressure="wait")  # type: ignore[arg-type]
    play(writer, Script())
    writer.save("success")
    report = session_report(locked, plan)
    assert report.cells == (("lift", 1, 2), ("open", 1, 2))
    assert [one.task for one in report.episodes] == ["lift", "open", "open"]
    with pytest.raises(NoMatchError, match="episode of the session 'other'"):
        session_report(locked, SessionPlan(name="other", tasks=plan.tasks))


def test_long_pauses_are_not_time_at_work() -> None:
    def line(start_s: float) -> EpisodeLine:
        return EpisodeLine(
            index=0, task="", outcome="success", start_s=start_s, duration_s=10, lost=0, problems=(), max_winding_c=30.0
        )

    assert _work_s([line(0), line(60), line(70 + PAUSE_S + 1)]) == 10 + 50 + 10 + 10


def test_every_kind_of_finding_has_an_advice() -> None:
    assert set(KINDS) <= set(ADVICE)


def test_the_command_writes_the_page(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(dataset.path), "--out", str(tmp_path / "report.html")]) == 0
    assert capsys.readouterr().out.startswith("2 of 3 episodes successful")
    assert (tmp_path / "report.html").exists()
