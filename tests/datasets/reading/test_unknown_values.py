"""Rows contain no NaN: unknown telemetry is left out or filled; an unknown state or action makes an episode unfit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.streams import Field, ScalarStream

START_NS = 1_700_000_000_000_000_000
JOINTS = ("a", "b")


def record(path: Path, winding: dict[int, list[float]], *, state_nan: int | None = None) -> Episode:
    """Record three seconds; `winding` is motor message -> temperatures."""
    position = Field("position", "rad", JOINTS)
    streams = [ScalarStream(name=name, rate_hz=30.0, fields=(position,)) for name in ("joints/state", "joints/command")]
    streams.append(
        ScalarStream(
            name="motors", rate_hz=10.0, fields=(Field("winding", "°C", JOINTS), Field("current", "A", JOINTS))
        )
    )
    dataset = Dataset.create(path, robot="toy")
    with dataset.lock():
        writer = dataset.begin(streams, {"task": "lift"})
        for k in range(90):
            at = START_NS + round(k * 1e9 / 30)
            pose = [0.01 * k, np.nan if k == state_nan else 0.0]
            stamps = {"header_ns": at, "receipt_ns": at, "sequence": k + 1}
            writer.row("joints/state", values={"position": pose}, **stamps)
            writer.row("joints/command", values={"position": [0.01 * k, 0.0]}, **stamps)
            if k % 3 == 0 and k // 3 in winding:
                values = {"winding": winding[k // 3], "current": [np.nan, np.nan]}
                writer.row("motors", values=values, **(stamps | {"sequence": k // 3 + 1}))
        writer.save("success")
    return dataset.episodes[0]


CONFIG = RowConfig(cameras=("none",))


def test_quantities_that_are_never_known_are_left_out(tmp_path: Path) -> None:
    rows = make_rows(record(tmp_path / "d", {k: [40.0 + k, np.nan] for k in range(30)}), CONFIG)
    assert rows.columns["telemetry.winding"].names == ("a",)
    assert "telemetry.current" not in rows.columns
    assert all(np.isfinite(column.values).all() for column in rows.columns.values())


def test_a_gap_keeps_the_last_value_and_the_first_value_is_filled_backwards(tmp_path: Path) -> None:
    known = {k: [40.0 + k, np.nan if 10 <= k < 20 else 30.0] for k in range(5, 30)}
    rows = make_rows(record(tmp_path / "d", known), CONFIG)
    winding = rows.columns["telemetry.winding"]
    assert winding.names == JOINTS
    assert np.isfinite(winding.values).all()
    assert winding.values[:15, 0].tolist() == [45.0] * 15
    assert set(winding.values[:, 1].tolist()) == {30.0}
    staleness = rows.columns["telemetry.staleness"]
    motors = staleness.values[:, staleness.names.index("motors")]
    assert motors[0] == pytest.approx(-0.5, abs=0.02)
    assert np.isfinite(motors).all()


def test_telemetry_that_starts_late_is_left_out(tmp_path: Path) -> None:
    rows = make_rows(record(tmp_path / "d", {k: [40.0, 41.0] for k in range(15, 30)}), CONFIG)
    assert "telemetry.winding" not in rows.columns


def test_an_unknown_position_makes_the_episode_unfit(tmp_path: Path) -> None:
    episode = record(tmp_path / "d", {k: [40.0, 41.0] for k in range(30)}, state_nan=40)
    with pytest.raises(UnfitEpisodeError, match=r"observation.state is not a finite number in 1 row \(b\)"):
        make_rows(episode, CONFIG)
