"""Episodes in which the robot did not follow are found, with and without its status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.reading import following
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.streams import Field, ScalarStream

START_NS = 1_700_000_000_000_000_000
JOINTS = ("a", "b", "grip")


def episode(path: Path, command: Callable[[float], list[float]], state: Callable[[float], list[float]]) -> Episode:
    """Record five seconds of a command and a state."""
    position = Field("position", "rad", JOINTS)
    streams = [ScalarStream(name=name, rate_hz=50.0, fields=(position,)) for name in ("joints/state", "joints/command")]
    dataset = Dataset.create(path, robot="toy")
    with dataset.lock():
        writer = dataset.begin(streams, {"task": "lift"})
        for k in range(250):
            at = START_NS + k * 20_000_000
            for stream, values in (("joints/state", state(k / 50)), ("joints/command", command(k / 50))):
                writer.row(stream, values={"position": values}, header_ns=at, receipt_ns=at, sequence=k + 1)
        writer.save("success")
    return dataset.episodes[0]


def test_commands_without_motion_are_found(tmp_path: Path) -> None:
    recorded = episode(tmp_path / "d", lambda s: [0.5 * np.sin(s), 0, 0], lambda s: [0.0, 0.0, 0.0])
    found = following.lapses(recorded)
    assert sum(lapse.seconds for lapse in found) >= 3.0
    assert "commands moved by" in found[0].reason
    with pytest.raises(UnfitEpisodeError, match=r"did not follow .*; pass --keep-not-following to use it"):
        make_rows(recorded, RowConfig(cameras=("none",)))
    assert len(make_rows(recorded, RowConfig(cameras=("none",), keep_not_following=True))) > 100


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (lambda s: [0.5 * np.sin(s), 0, 0], lambda s: [0.5 * np.sin(s - 0.2), 0, 0]),
        (lambda s: [0.5, 0, 0], lambda s: [0.0, 0.0, 0.0]),
        (lambda s: [np.nan] * 3, lambda s: [0.0, 0.0, 0.0]),
        # A gripper that is blocked by an object while the arm moves.
        (lambda s: [0.5 * np.sin(s), 0, 0.3 * s], lambda s: [0.5 * np.sin(s - 0.1), 0, 0.1]),
    ],
    ids=["follows", "standing", "released", "gripper"],
)
def test_other_episodes_are_not(
    tmp_path: Path, command: Callable[[float], list[float]], state: Callable[[float], list[float]]
) -> None:
    assert following.lapses(episode(tmp_path / "d", command, state)) == []
    assert following.describe([]) == ""


def test_actions_that_are_not_angles_of_the_joints_are_not_compared(tmp_path: Path) -> None:
    """An imported dataset: differences of a pose beside joints that stand still."""
    state = Field("position", "rad", JOINTS)
    action = Field("position", "", ("x", "y", "z"))
    streams = [
        ScalarStream(name="joints/state", rate_hz=50.0, fields=(state,)),
        ScalarStream(name="joints/command", rate_hz=50.0, fields=(action,)),
    ]
    dataset = Dataset.create(tmp_path / "d", robot="toy")
    with dataset.lock():
        writer = dataset.begin(streams, {})
        for k in range(250):
            at = START_NS + k * 20_000_000
            for stream, values in (("joints/state", [0.0] * 3), ("joints/command", [(-1) ** k] * 3)):
                writer.row(stream, values={"position": values}, header_ns=at, receipt_ns=at, sequence=k + 1)
        writer.save("success")
    assert following.lapses(dataset.episodes[0]) == []
