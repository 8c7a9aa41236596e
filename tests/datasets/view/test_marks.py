import numpy as np

from waldo.datasets.view import curves
from waldo.datasets.view.marks import find_marks


def test_a_complete_recording_has_no_marks(episode) -> None:
    assert find_marks(episode) == []


def test_losses_and_gaps_are_marked(record, script) -> None:
    dataset = record(script(without_frames={"cameras/front": {4}}, without_rows=range(20, 40)))
    episode = dataset.episodes[0]
    frame, rows = find_marks(episode)
    stamps = episode.time_ns("cameras/front")
    assert (frame.kind, frame.stream, frame.text) == ("lost", "cameras/front", "1 frame lost, gap of 67 ms")
    assert (frame.start_ns, frame.stop_ns) == (stamps[3], stamps[4])
    assert (rows.kind, rows.text) == ("lost", "20 rows lost, gap of 350 ms")


def test_a_disengaged_operator_is_not_a_gap(record, script) -> None:
    assert find_marks(record(script(hands_off=range(10, 50))).episodes[0]) == []


def test_a_frozen_camera_is_marked(record, script) -> None:
    (mark,) = find_marks(record(script(frozen={"cameras/wrist": range(6, 21)})).episodes[0])
    assert (mark.kind, mark.stream, mark.text) == ("frozen", "cameras/wrist", "the image does not change for 0.47 s")


def test_marks_of_a_calibrated_camera_are_at_the_exposure_time(record, script) -> None:
    dataset = record(script(without_frames={"cameras/front": {4}}))
    (before,) = find_marks(dataset.episodes[0])
    dataset.set_latency({"cameras/front": 40_000_000})
    (after,) = find_marks(dataset.episodes[0])
    assert after.start_ns == before.start_ns - 40_000_000


def test_each_joint_has_a_chart_of_state_and_commands(episode) -> None:
    found = curves.panels(episode)
    joints = [panel for panel in found if panel.group == "Joints"]
    assert [panel.title for panel in joints] == ["hip", "knee", "claw"]
    assert [line.name for line in joints[1].lines] == ["state", "command", "applied"]
    assert [line.column for line in joints[1].lines] == [1, 1, 1]
    assert [panel.title for panel in found if panel.group == "Motors"] == ["winding", "duty", "time to limit"]
    assert "joints/state velocity" in [panel.title for panel in found if panel.group == "Other streams"]


def test_tables_contain_every_sample(episode) -> None:
    table = curves.tables(episode, episode.span_ns[0])["joints/state"]
    np.testing.assert_array_equal(table.values[:, 3:6], episode.values("joints/state", "velocity"))
    np.testing.assert_allclose(table.time_s, (episode.time_ns("joints/state") - episode.span_ns[0]) / 1e9)


def test_thinned_curves_keep_every_peak() -> None:
    values = np.random.default_rng(0).normal(size=(1003, 2)).astype(np.float32)
    values[500, 0], values[501, 1] = 99, np.nan
    table = curves.thin(np.arange(1003) / 100, values, 10)
    assert table.values.shape == (2 * 101, 2)
    assert table.values[:, 0].max() == 99
    np.testing.assert_array_equal(table.values[:, 1].min(), np.nanmin(values[:, 1]))
    assert (np.diff(table.time_s) >= 0).all()


def test_a_long_recording_is_thinned(episode, monkeypatch) -> None:
    monkeypatch.setattr(curves, "MAX_VALUES", 300)
    tables = curves.tables(episode, 0)
    assert sum(table.values.size for table in tables.values()) < 600
