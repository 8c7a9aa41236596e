from dataclasses import replace

import numpy as np
import pytest

from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError, camera_streams
from waldo.datasets.reading.rows import make_rows, require_layout
from waldo.errors import UnknownNameError

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
        "telemetry.staleness",
    }


def test_columns_are_the_samples_at_the_rows(episode):
    columns = make_rows(episode, CONFIG).columns
    state = episode.values("joints/state", "position")
    command = episode.values("joints/command", "position")
    sent = episode.values("joints/sent", "position")
    assert np.array_equal(columns["observation.state"].values, state[::2])
    assert np.array_equal(columns["action"].values, command[::2])
    assert np.array_equal(columns["telemetry.sent_action"].values, sent[::2])
    assert columns["observation.environment_state"].names == ("red_cube.x", "goal.red_cube")
    assert (columns["telemetry.winding"].values == 40.0).all()
    # It is never known.
    assert "telemetry.duty" not in columns
    staleness = columns["telemetry.staleness"]
    worst = dict(zip(staleness.names, staleness.values.max(axis=0).tolist(), strict=True))
    assert worst["motors"] == pytest.approx(4 / 60, abs=1e-6)
    assert worst["joints/state"] == worst["cameras/wrist"] == 0.0


def test_the_applied_command_can_be_the_action(episode):
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
    # Frame 11 is missing: row 11 gets an adjacent frame, and later rows have an index that is one less.
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


def test_incomplete_rows_at_either_end_are_dropped(record, script):
    episode = record(script(without_rows=[0, 1, 2, 57, 58, 59])).episodes[0]
    rows = make_rows(episode, RowConfig(cameras=CAMERAS, max_staleness_s=0.03))
    assert rows.frames["cameras/front"].tolist() == list(range(2, 29))


def test_a_long_gap_inside_makes_it_unfit(record, script):
    episode = record(script(seconds=2.0, without_rows=range(60, 90))).episodes[0]
    with pytest.raises(UnfitEpisodeError) as error:
        make_rows(episode, CONFIG)
    assert str(error.value) == "episode 0: joints/state has 1 gap, the longest 517 ms at 0.98 s (the limit is 0.25 s)"


def test_a_missing_stream_makes_it_unfit(record, script):
    episode = record(script(without_frames={"cameras/wrist": range(30)})).episodes[0]
    with pytest.raises(UnfitEpisodeError) as error:
        make_rows(episode, CONFIG)
    assert str(error.value) == "episode 0: cameras/wrist is absent or empty"


def test_while_the_operator_is_disengaged_the_action_is_the_applied_command(record, script):
    episode = record(script(seconds=2.0, hands_off=range(40, 80), command_offset=0.3)).episodes[0]
    rows = make_rows(episode, CONFIG)
    action, sent = rows.columns["action"].values, rows.columns["telemetry.sent_action"].values
    assert len(action) == 60
    # The last disengaged row gets the command that follows two periods later.
    off = np.arange(20, 39)
    assert np.array_equal(action[off], sent[off])
    on = np.r_[np.arange(20), np.arange(40, 60)]
    command = episode.values("joints/command", "position")
    asked = command[~np.isnan(command).any(axis=1)]
    assert np.array_equal(action[on], asked[::2])


def test_camera_names_with_and_without_the_prefix(episode):
    assert camera_streams(episode, ()) == CAMERAS
    assert camera_streams(episode, None) == ()
    assert camera_streams(episode, ("wrist", "cameras/front")) == CAMERAS[::-1]
    with pytest.raises(
        UnknownNameError, match=r"^unknown camera 'frnt'; did you mean 'front'\? \(known: front, wrist\)$"
    ):
        camera_streams(episode, ("frnt",))


def test_a_config_is_resolved_against_an_episode(episode):
    assert RowConfig().resolve(episode).cameras == CAMERAS
    assert RowConfig(cameras=("none",)).cameras is None
    assert RowConfig(cameras=None).resolve(episode).cameras is None


def test_a_short_camera_name_gives_the_same_rows(episode):
    assert make_rows(episode, RowConfig(cameras=("front",))).frames.keys() == {"cameras/front"}


def test_another_layout_is_named():
    with pytest.raises(UnfitEpisodeError) as error:
        require_layout(4, {"action": ("a", "b"), "same": ()}, {"action": ("a",), "cameras/front": (48, 64), "same": ()})
    assert str(error.value) == "episode 4: columns differ from those of the first episode: action, cameras/front"

    with pytest.raises(UnfitEpisodeError, match=r": next\.reward; leave their streams out with --without$"):
        require_layout(4, {"action": ("a",)}, {"action": ("a",), "next.reward": ("r",)})
