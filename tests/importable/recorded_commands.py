"""A dataset with one episode of commands, for tests of the replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from waldo.datasets.dataset import Dataset
from waldo.datasets.schema import COMMAND
from waldo.datasets.streams import Field, ScalarStream
from waldo.robots.description import Robot

START_NS = 1_700_000_000_000_000_000
"""Time of the first command [ns]."""


def record_commands(
    folder: Path,
    robot: Robot,
    commands: np.ndarray,
    *,
    rate_hz: float = 60.0,
    joints: Sequence[str] = (),
    reverse: bool = False,
) -> Path:
    """Record an episode with commands (T, joints) [rad], with stamps in reverse order or not; return its dataset."""
    labels = tuple(joints or robot.joint_names)
    stream = ScalarStream(name=COMMAND, rate_hz=rate_hz, fields=(Field("position", "rad", labels, "float64"),))
    dataset = Dataset.create(folder, robot=robot.name)
    with dataset.lock():
        writer = dataset.begin((stream,), {"task": "move"}, back_pressure="wait")
        for number, command in enumerate(commands):
            stamp = START_NS + round((-number if reverse else number) * 1e9 / rate_hz)
            writer.row(
                COMMAND,
                values={"position": command},
                header_ns=stamp,
                receipt_ns=stamp + 1_000_000,
                sequence=number + 1,
            )
        writer.save("success")
    return folder
