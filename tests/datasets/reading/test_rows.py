from dataclasses import replace

import numpy as np
import pytest

from waldo.datasets.reading.rows import RowConfig, UnfitEpisodeError, make_rows

CAMERAS = ("cameras/front", "cameras/wrist")
CONFIG = RowConfig(cameras=CAMERAS)


def test_rows_are_the_first_cameras_frames(episode):
    rows = make_rows(episode, CONFIG)
    assert np.array_equal(rows.instants_ns, episode.time_ns("cameras/front"))
    for camera in CAMERAS:
        assert rows.frames[camera].tolist() == list(range(30))
        assert rows.frame_error_s[camera] == 0.0
    assert set(rows.columns) == {
        "observation.state",
        "action",
        "observation.environment_state",
        "telemetry.sent_action",
        "telemetry.velocity",
        "telemetry.effort",
        "telemetry.winding",
        "telemetry.duty",
        "telemetry.staleness",
    }


def test_columns_are_the_streams_at_the_rows(episode):
    columns = make_rows(episode, CONFIG).columns
    state = episode.values("joints/state", "position")
    command = episode.values("joints/command", "position")
    sent = episode.values("joints/sent", "position")
    assert np.array_equal(columns["observation.state"].values, state[::2])
    assert np.array_equal(columns["action"].values, command[::2])
    assert np.array_equal(columns["telemetry.sent_action"].values, sent[::2])
    assert columns["observation.environment_state"].names == ("red_cube.x", "goal.red_cube")
    assert (columns["telemetry.winding"].values == 40.0).all()
    assert np.isnan(columns["telemetry.duty"].values).all()
    staleness = columns["telemetry.staleness"]
    worst = dict(zip(staleness.names, staleness.values.max(axis=0).tolist(), strict=True))
    assert worst["motors"] == pytest.approx(4 / 60, abs=1e-6)
    assert worst["joints/state"] == worst["cameras/wrist"] == 0.0


def test_what_was_sent_can_be_the_action(episode):
    columns = make_rows(episode, replace(CONFIG, action="sent")).columns
    assert np.array_equal(columns["action"].values, episode.values("joints/sent", "position")[::2])
    assert "telemetry.sent_action" not in columns
    assert np.array_equal(columns["telemetry.command"].values, episode.values("joints/command", "position")[::2])


def test_without_cameras_rows_are_a_regular_grid(episode):
    rows = make_rows(episode, RowConfig(fps=20, cameras=None, environment=False))
    assert rows.frames == {}
    assert "observation.environment_state" not in rows.columns
    assert np.array_equal(np.diff(rows.instants_ns), np.full(len(rows.instants_ns) - 1, 50_000_000))
    assert len(rows.instants_ns) == 20


def test_a_dropped_frame_keeps_its_row(record, script):
    episode = record(script(without_frames={"cameras/wrist": [11]})).episodes[0]
    rows = make_rows(episode, CONFIG)
    assert len(rows.instants_ns) == 30
    # Frame 11 is missing, so from there on the row's frame is one less; row 11 shows a neighbour.
    assert rows.frames["cameras/wrist"].tolist() in (
        [*range(11), 10, *range(11, 29)],
        [*range(11), 11, *range(11, 29)],
    )
    assert rows.frame_error_s["cameras/wrist"] == pytest.approx(1 / 30, abs=1e-6)


def test_a_frame_dropped_by_the_first_camera_keeps_its_row_too(record, script):
    episode = record(script(without_frames={"cameras/front": [11]})).episodes[0]
    rows = make_rows(episode, CONFIG)
    assert rows.frames["cameras/wrist"].tolist() == list(range(30))
    assert len(rows.frames["cameras/front"]) == 30


def test_rows_without_a_source_at_either_end_are_left_away(record, script):
    episode = record(script(without_rows=[0, 1, 2, 57, 58, 59])).episodes[0]
    rows = make_rows(episode, RowConfig(cameras=CAMERAS, max_staleness_s=0.03))
    assert rows.frames["cameras/front"].tolist() == list(range(2, 29))


def test_a_long_gap_inside_makes_it_unfit(record, script):
    episode = record(script(seconds=2.0, without_rows=range(60, 90))).episodes[0]
    with pytest.raises(UnfitEpisodeError) as error:
        make_rows(episode, CONFIG)
    assert str(error.value) == "episode 0: joints/state has too long a gap at 1.27 s (the limit is 0.25 s)"


def test_a_missing_stream_makes_it_unfit(record, script):
    episode = record(script(without_frames={"cameras/wrist": range(30)})).episodes[0]
    with pytest.raises(UnfitEpisodeError) as error:
        make_rows(episode, CONFIG)
    assert str(error.value) == "episode 0: cameras/wrist is absent or empty"


def test_while_the_hand_is_off_the_action_is_what_was_sent(record, script):
    episode = record(script(seconds=2.0, hands_off=range(40, 80), command_offset=0.3)).episodes[0]
    rows = make_rows(episode, CONFIG)
    action, sent = rows.columns["action"].values, rows.columns["telemetry.sent_action"].values
    assert len(action) == 60
    # The last row before the hand is back is answered by the command that follows two periods later.
    off = np.arange(20, 39)
    assert np.array_equal(action[off], sent[off])
    on = np.r_[np.arange(20), np.arange(40, 60)]
    command = episode.values("joints/command", "position")
    asked = command[~np.isnan(command).any(axis=1)]
    assert np.array_equal(action[on], asked[::2])
