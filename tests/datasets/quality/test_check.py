from dataclasses import replace

import numpy as np
import pytest

from tests.recordings import START_NS
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.quality.check import COMMANDS, check_dataset
from waldo.datasets.quality.motion import measure
from waldo.datasets.streams import Field, ScalarStream


@pytest.fixture
def check(record, robot, monkeypatch):
    """Return a function that records one episode by a script and checks it with the limits of the small robot."""
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)

    def run(script):
        (report,) = check_dataset(record(script))
        return report

    return run


def found(report):
    return [(f.level, f.kind, f.stream, f.text) for f in report.findings]


def test_a_recording_without_faults_has_no_findings(check, script):
    report = check(script())
    assert found(report) == []
    assert report.max_winding_c == 40.0
    figures = {stream.name: stream for stream in report.streams}
    assert figures["cameras/front"].rate_hz == pytest.approx(30.0)
    assert figures["joints/state"].staleness_s == pytest.approx(0.001)
    assert figures["joints/state"].jitter_s == pytest.approx(0.0, abs=1e-8)


def test_a_gap_and_its_loss_are_found(check, script):
    report = check(script(seconds=3.0, without_rows=range(60, 66)))
    assert found(report) == [
        ("problem", "loss", "joints/state", "lost 6 of 180 messages (6 missing in the sequence)"),
        ("problem", "gap", "joints/state", "1 gap, the longest 117 ms at 0.98 s"),
    ]


def test_a_lost_frame_is_found(check, script):
    report = check(script(seconds=3.0, without_frames={"cameras/wrist": [40]}))
    assert found(report) == [
        ("problem", "loss", "cameras/wrist", "lost 1 of 90 messages (1 missing in the sequence)"),
    ]


def test_a_wrong_rate_is_found(check, script):
    report = check(script(seconds=2.0, without_frames={"cameras/wrist": range(1, 60, 2)}))
    assert ("problem", "rate", "cameras/wrist", "15.00 Hz, expected 30 Hz") in found(report)


def test_a_frozen_camera_is_found_while_the_robot_moves(check, script):
    report = check(script(seconds=2.0, frozen={"cameras/front": range(15, 45)}))
    ((level, kind, stream, text),) = found(report)
    assert (level, kind, stream) == ("problem", "frozen", "cameras/front")
    assert text.startswith("the image does not change for 0.97 s from 0.50 s while a joint moved ")


def test_an_unchanged_image_of_an_idle_robot_is_not_a_problem(check, script, monkeypatch):
    monkeypatch.setattr("waldo.datasets.quality.check._movement", lambda *_: 0.0)
    assert found(check(script(seconds=2.0, frozen={"cameras/front": range(15, 45)}))) == []


def test_commands_outside_the_limits_are_found(check, script):
    report = check(script(command_offset=0.3))
    texts = [text for _, kind, stream, text in found(report) if (kind, stream) == ("limit", "joints/command")]
    assert texts[0].startswith("hip is commanded to 1.200 rad (limits -1.000 to 1.000 rad); ")
    assert len(texts) == len(
        [f for f in report.findings if f.kind == "limit"]
    )  # applied commands are within the limits


def test_non_finite_values_are_found(check, script):
    report = check(script(bad_value=float("nan")))
    assert found(report) == [
        ("problem", "value", "joints/state", "effort is not finite in 1 row (hip, knee, claw)"),
    ]


def test_a_policy_that_commands_nothing_is_not_a_problem(tmp_path, streams, play, script, robot, monkeypatch):
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)
    labels = ("look", "jump_position")
    policy = ScalarStream(name=schema.POLICY, rate_hz=60.0, fields=(Field("value", "", labels),))
    dataset = Dataset.create(tmp_path / "dataset", robot="tiny")
    with dataset.lock():
        writer = dataset.begin((*streams, policy), {"task": "lift the red cube"}, back_pressure="wait")
        play(writer, script())
        for tick in range(60):
            stamp = START_NS + round(tick * 1e9 / 60)
            row = {"value": [float(tick), np.nan if tick % 2 else 0.1]}
            writer.row(schema.POLICY, values=row, header_ns=stamp, receipt_ns=stamp + 1_000_000, sequence=tick + 1)
        writer.save("success")
    (report,) = check_dataset(dataset)
    assert found(report) == []


def test_heat_at_the_limit_is_found(check, script):
    report = check(script(winding_c=71.5))
    assert found(report)[0] == (
        "problem",
        "heat",
        "motors",
        "the winding of hip reached 71.5 °C (limit 70.0 °C)",
    )
    assert report.problems == 3


def test_stale_messages_are_found(check, script):
    report = check(script(late_ns=400_000_000))
    assert {(kind, text) for _, kind, _, text in found(report)} == {
        ("staleness", "messages are up to 400 ms old when received")
    }
    assert report.problems == 7


def test_different_clocks_are_noted_but_not_stale(check, script):
    report = check(script(late_ns=10**18))
    assert {(level, kind) for level, kind, _, _ in found(report)} == {("note", "clock")}


def test_a_stream_that_stops_early_is_found(check, script):
    report = check(script(seconds=2.0, without_rows=range(60, 120)))
    assert found(report) == [
        ("problem", "silence", "joints/state", "no message in the last 1.00 s of the episode"),
    ]


def test_a_stream_without_messages_is_found(check, script):
    report = check(script(seconds=1.0, without_frames={"cameras/front": range(30)}))
    assert found(report) == [("problem", "empty", "cameras/front", "no message was recorded")]


def test_an_unregistered_robot_is_a_note(record, script):
    (report,) = check_dataset(record(script(command_offset=0.3)))
    text = "robot 'tiny' is not registered: limits and heat are not checked"
    assert found(report) == [("note", "robot", "", text)]
    assert report.problems == 0


def test_an_interrupted_recording_is_noted(locked, streams, play, script):
    with locked.begin(streams, {}) as writer:
        play(writer, script())
    (report,) = check_dataset(locked)
    assert ("note", "interrupted", "", "the recording was interrupted") in found(report)


def test_an_episode_that_cannot_be_opened_is_a_problem(record, script):
    dataset = record(script(seconds=0.2), script(seconds=0.2))
    (dataset.path / "episode_000000.zarr" / "zarr.json").write_text("{")
    first, second = check_dataset(dataset)
    assert (first.index, second.index) == (0, 1)
    assert [f.kind for f in first.findings] == ["unreadable"]
    assert np.isnan(first.duration_s)


def test_a_disengaged_operator_is_not_a_problem(check, script):
    assert found(check(script(seconds=2.0, hands_off=range(40, 80)))) == []


def test_a_robot_that_publishes_no_effort_and_no_applied_command_is_noted(tmp_path, robot, monkeypatch):
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)
    dataset = Dataset.create(tmp_path / "set", robot=robot.name)
    streams = [schema.joint_stream(name, 60.0, robot.joint_names) for name in ("joints/state", *COMMANDS)]
    unknown = np.full(len(robot.joints), np.nan)
    with dataset.lock():
        writer = dataset.begin(streams, {})
        for k in range(90):
            at = 1_700_000_000_000_000_000 + round(k * 1e9 / 60)
            position = robot.home + 0.01 * np.sin(k / 10)
            stamps = {"header_ns": at, "receipt_ns": at, "sequence": k + 1}
            values = {"position": position, "velocity": 0 * position, "effort": unknown}
            writer.row("joints/state", values=values, **stamps)
            writer.row("joints/command", values={"position": position}, **stamps)
        writer.save("success")
    (report,) = check_dataset(dataset)
    assert found(report) == [
        ("note", "unknown", "joints/state", "the robot publishes no effort"),
        ("note", "empty", "joints/sent", "no message was recorded"),
    ]
    assert report.problems == 0


def test_a_clock_that_is_set_forward_costs_no_time(locked, streams, robot, monkeypatch):
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)
    measured = []

    def measured_once(*args):
        measured.append(args[3])
        assert len(measured) < 100
        return measure(*args)

    monkeypatch.setattr("waldo.datasets.quality.check.measure", measured_once)
    writer = locked.begin(streams[:1], {}, back_pressure="wait")
    later_ns = START_NS + 400 * 86_400 * 10**9
    for start_ns in (START_NS, later_ns):
        for k in range(300):
            at, row = start_ns + round(k * 1e9 / 60), np.full(3, 0.02 * k)
            values = {"position": row, "velocity": row, "effort": row}
            writer.row("joints/state", values=values, header_ns=at, receipt_ns=at, sequence=-1)
    writer.save("success", wait=True)
    (report,) = check_dataset(locked)
    assert "gap" in {finding.kind for finding in report.findings}
    assert measured == [START_NS + k * 2 * 10**9 for k in range(3)] + [later_ns, later_ns + 2 * 10**9]


@pytest.mark.parametrize("other", ["joints/command", "joints/sent"])
def test_commands_of_other_joints_than_the_states_are_no_error(locked, streams, robot, monkeypatch, other):
    monkeypatch.setattr("waldo.datasets.quality.check.load_robot", lambda name: robot)
    changed = {other: replace(streams[1], name=other, fields=(Field("position", "rad", ("hip", "knee")),))}
    chosen = [changed.get(stream.name, stream) for stream in streams[:3]]
    writer = locked.begin(chosen, {}, back_pressure="wait")
    for tick in range(300):
        at, row = START_NS + round(tick * 1e9 / 60), np.sin(tick / 30 + np.arange(3)) * 0.9
        for stream in chosen:
            values = {field.name: row[: len(field.labels)] for field in stream.fields}
            writer.row(stream.name, values=values, header_ns=at, receipt_ns=at, sequence=tick + 1)
    writer.save("success", wait=True)
    assert found(*check_dataset(locked)) == []
