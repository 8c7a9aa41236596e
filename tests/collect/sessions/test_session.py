"""A session while it is recorded: progress, reset, start and stop by motion, and rests. No ROS; time is passed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dashboards import motor_status
from waldo.collect.notice import Notice
from waldo.collect.recorder.checks.disk_space import Space
from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.recorder.checks.start_gates import OVERRIDE_S
from waldo.collect.recorder.recorder import Recorder, RecorderConfig
from waldo.collect.recorder.status import RecordingStatus
from waldo.collect.robot_condition import RobotCondition
from waldo.collect.sessions.plan import PlannedTask, SessionPlan
from waldo.collect.sessions.session import REPEAT_S, SETTLE_S, RecordingSession
from waldo.datasets.dataset import Dataset
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, OK

PLAN = SessionPlan(
    name="kitchen",
    tasks=(PlannedTask(instructions=("lift", "open"), episodes=2, subtasks=("reach", "grasp")),),
    reset_s=5.0,
    start="motion",
    stop="motion",
    still_s=2.0,
    max_episode_s=30.0,
)


class Desk:
    """A recorder and its session on one clock."""

    def __init__(self, recorder: Recorder, plan: SessionPlan) -> None:
        self.recorder, self.now_s, self.notices = recorder, 100.0, list[Notice]()
        self.position = np.zeros(2)
        self.gates: tuple[Gate, ...] = ()
        self.session = RecordingSession(plan, recorder, self.notices.append, lambda: self.now_s)
        self.session.condition(RobotCondition(word="FOLLOWING", level=OK))
        self.show()

    def show(self, **changed: Any) -> None:
        status = RecordingStatus(
            state=self.recorder.state.value,
            task="",
            episode=0,
            saved=self.recorder.saved,
            seconds=self.recorder.seconds,
            streams={},
            waiting=0,
            space=Space(3600.0),
            pending=self.recorder.dataset.pending,
            gates=self.gates,
        )
        self.session.status(replace(status, **changed))

    def step(self, seconds: float, *, speed: float = 0.0) -> list[str]:
        """Let time pass; return the requests."""
        found: list[str] = []
        for _ in range(round(seconds * 20)):
            self.now_s += 0.05
            self.position = self.position + speed * 0.05
            self.session.positions(self.position)
            stamp = round(self.now_s * 1e9)
            values = {"position": self.position, "velocity": self.position, "effort": self.position}
            self.recorder.row("joints/state", values=values, header_ns=stamp, receipt_ns=stamp, sequence=-1)
            found += self.session.take_requests()
        return found

    def record(self, outcome: str) -> None:
        self.recorder.start()
        self.show()
        self.step(0.5, speed=1.0)
        self.recorder.save(outcome)
        self.show()


@pytest.fixture
def recorder(tmp_path: Path, toy_robot: Robot) -> Iterator[Recorder]:
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    with dataset.lock():
        yield Recorder(dataset, toy_robot, {"operator": "anna"}, RecorderConfig(lockstep=True))


def test_the_plan_is_followed_until_it_is_complete(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, start="key", stop="key"))
    desk.step(0.2)
    tasks: list[str] = []
    while desk.session.state()["instruction"]:
        tasks.append(recorder.task["task"])
        desk.record("success")
    assert tasks == ["lift", "open", "lift", "open"]
    assert desk.session.state()["done"] == 4
    assert desk.notices[-1].text == "the plan kitchen is complete: 4 episodes"
    assert recorder.task == {"task": "open"}  # a further episode is of no cell
    episodes = recorder.dataset.episodes
    assert [episode.attributes["session_cell"] for episode in episodes] == [" / lift / ", " / open / "] * 2
    assert episodes[0].attributes["operator"] == "anna"


def test_failures_and_deleted_episodes_are_recorded_again(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, start="key", stop="key"))
    desk.step(0.2)
    desk.record("failure")
    assert (recorder.task["task"], desk.session.state()["done"]) == ("lift", 0)
    desk.record("success")
    assert (recorder.task["task"], desk.session.state()["done"]) == ("open", 1)
    recorder.undo()
    desk.show()
    assert (recorder.task["task"], desk.session.state()["done"]) == ("lift", 0)


def test_a_later_start_continues_where_the_last_one_stopped(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, start="key", stop="key"))
    desk.step(0.2)
    for _ in range(3):
        desk.record("success")
    later = Desk(recorder, replace(PLAN, start="key", stop="key"))
    assert later.session.state()["done"] == 3
    assert recorder.task["task"] == "open"
    # The episodes of another plan do not count.
    assert Desk(recorder, replace(PLAN, name="other")).session.state()["done"] == 0


def test_motion_starts_an_episode_and_standing_still_ends_it(recorder: Recorder) -> None:
    desk = Desk(recorder, PLAN)
    assert desk.step(3.0) == []
    assert desk.step(0.2, speed=1.0) == ["start"]
    recorder.start()
    desk.show()
    assert desk.step(4.0) == []  # nothing has moved in the episode
    assert desk.step(3.0, speed=0.5) == []
    assert desk.step(1.9) == []
    assert desk.step(0.2) == ["stop"]


def test_motion_starts_nothing_during_the_reset_and_before_the_robot_stood_still(recorder: Recorder) -> None:
    desk = Desk(recorder, PLAN)
    desk.step(0.2)
    desk.record("success")
    assert desk.session.state()["reset_s"] == pytest.approx(5.0, abs=0.1)
    desk.step(2.0)
    assert desk.step(2.0, speed=1.0) == []  # the scene is being arranged
    assert desk.step(5.0, speed=1.0) == []  # still in motion from before
    assert desk.session.state()["reset_s"] == 0.0
    desk.step(SETTLE_S + 0.1)
    assert desk.step(0.2, speed=1.0) == ["start"]


@pytest.mark.parametrize("obstacle", ["gate", "stopped", "complete"])
def test_motion_starts_nothing_that_an_operator_could_not_start(recorder: Recorder, obstacle: str) -> None:
    done = replace(PLAN, tasks=(PlannedTask(instructions=("lift",)),))
    desk = Desk(recorder, done)
    desk.step(1.0)
    if obstacle == "gate":
        desk.gates = (Gate(name="disk", reason="full"),)
    elif obstacle == "stopped":
        desk.session.condition(RobotCondition(word="STOPPED", level=ERROR))
    else:
        desk.record("success")
        desk.step(6.0)
    desk.show()
    assert desk.step(0.5, speed=1.0) == []


def test_a_refused_request_is_repeated_later(recorder: Recorder) -> None:
    desk = Desk(recorder, PLAN)
    desk.step(1.0)
    assert desk.step(REPEAT_S - 0.2, speed=1.0) == ["start"]
    assert desk.step(1.0, speed=1.0) == ["start"]


def test_an_episode_that_is_too_long_is_ended(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, stop="key"))
    desk.step(0.2)
    recorder.start()
    desk.show()
    desk.step(29.0, speed=0.01)
    desk.show()
    assert desk.step(0.1) == []
    desk.step(1.5, speed=0.01)
    desk.show()
    assert desk.step(0.1) == ["stop"]


def test_a_rest_is_proposed_from_the_forecast(recorder: Recorder) -> None:
    desk = Desk(recorder, PLAN)
    desk.session.motors({"a": motor_status(episodes_left=2.5, cooldown_seconds=120.0)})
    desk.show()
    rest = desk.session.state()["rest"]
    assert rest == {"after": 2, "seconds": 120.0, "joint": "a", "reason": "the task changes"}
    assert not [notice for notice in desk.notices if notice.text.startswith("rest")]
    desk.session.motors({"a": motor_status(episodes_left=0.4, cooldown_seconds=120.0)})
    desk.show()
    desk.show()
    assert [one.text for one in desk.notices if one.text.startswith("rest")] == [
        "rest now for 2 min: a is hot, and no change of the scene comes before"
    ]


def test_a_quick_episode_is_stopped_and_the_next_one_started_without_a_pause(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, reset_s=0.0, still_s=0.5))
    desk.step(1.0)
    for _ in range(2):
        assert desk.step(0.2, speed=1.0) == ["start"]
        recorder.start()
        desk.show()
        desk.step(0.5, speed=1.0)
        assert desk.step(0.6) == ["stop"]
        recorder.stop()
        desk.show()
        recorder.save("success")
        desk.show()
        desk.step(SETTLE_S + 0.1)


def test_a_repeated_start_never_overrides_what_refused_the_first_one() -> None:
    assert REPEAT_S > OVERRIDE_S


def test_an_episode_that_cannot_be_read_does_not_count_and_stops_nothing(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, start="key", stop="key"))
    desk.step(0.2)
    desk.record("success")
    desk.record("success")
    (Path(str(recorder.dataset.episode_path(0))) / "zarr.json").write_text("{")
    assert Desk(recorder, PLAN).session.state()["done"] == 1


def test_damaged_edits_are_reported_once_and_stop_nothing(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, start="key", stop="key"))
    desk.step(0.2)
    (Path(str(recorder.dataset.path)) / "edits.jsonl").write_text("damaged\n")
    desk.show()
    desk.show()
    (notice,) = [one for one in desk.notices if one.level == ERROR]
    assert notice.text.startswith("the progress of the session is not up to date: ")
    assert "line 1 is damaged" in notice.text


def test_the_motion_that_ended_with_an_episode_starts_no_other_one(recorder: Recorder) -> None:
    desk = Desk(recorder, replace(PLAN, reset_s=0.0))
    desk.step(1.0)
    desk.record("success")  # its last motion was in this instant
    assert desk.step(0.2, speed=1.0) == []
    assert desk.step(SETTLE_S + 0.2) == []
    assert desk.step(0.2, speed=1.0) == ["start"]
