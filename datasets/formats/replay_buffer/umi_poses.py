"""The pose of each end effector for UMI: read from recorded streams, or computed from the joint positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.formats.replay_buffer.end_effector import EndEffectorKinematics
from waldo.datasets.reading.row_config import UnfitEpisodeError
from waldo.datasets.streams import ScalarStream
from waldo.errors import UnknownNameError, WaldoError
from waldo.robots.description import load_robot

WIDTHS: Mapping[str, int] = {"eef_pos": 3, "eef_rot_axis_angle": 3, "gripper_width": 1}
"""Array after `robot{i}_` -> values per row: position [m], rotation vector [rad], gripper width [m]."""

ENDS: Mapping[str, int] = {"demo_start_pose": 0, "demo_end_pose": -1}
"""Array of poses (position, rotation vector) after `robot{i}_` -> row of the episode that it repeats."""


class NoPoseError(WaldoError):
    """A dataset whose end effector poses are neither recorded nor computable."""

    def __init__(self, path: object, robot: str, why: str) -> None:
        """Build the message from the episode, the name of its robot and the reason."""
        super().__init__(
            f"{path}: UMI requires end effector poses, but robot0_eef_pos, robot0_eef_rot_axis_angle and "
            f"robot0_gripper_width are not recorded and cannot be computed for robot {robot!r} ({why}); "
            "export to lerobot or replay-buffer instead"
        )


class Poses(Protocol):
    """A source of end effector poses. Instances are pickled."""

    @property
    def streams(self) -> Sequence[str]:
        """Streams that must be present in every episode."""
        ...

    @property
    def optional_streams(self) -> Sequence[str]:
        """Streams that are exported if they are present."""
        ...

    def read(self, episode: Episode, samples: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Return UMI's key -> values, shape (rows, width).

        Args:
            episode: The episode.
            samples: Stream -> index of the sample of each row.

        Raises:
            UnfitEpisodeError: If the values are missing or not finite.
        """
        ...

    def notes(self, episode: Episode) -> list[str]:
        """Return notes about the origin of the poses."""
        ...


def open_poses(episode: Episode) -> Poses:
    """Return the source of the poses of an episode: recorded streams if there are any.

    Raises:
        NoPoseError: If there are none and the robot's description has no end effector.
    """
    robots = 0
    while all(_width(episode, f"robot{robots}_{name}") == width for name, width in WIDTHS.items()):
        robots += 1
    if robots:
        return RecordedPoses(robots=robots)
    try:
        effectors = load_robot(episode.robot).end_effectors
    except UnknownNameError as error:
        raise NoPoseError(episode.path, episode.robot, str(error)) from error
    if not effectors:
        raise NoPoseError(episode.path, episode.robot, "its description has no end effector")
    if schema.STATE not in episode.streams:
        raise NoPoseError(episode.path, episode.robot, f"{schema.STATE} is not recorded")
    return ComputedPoses(robot=episode.robot)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPoses:
    """Poses from recorded streams with UMI's names."""

    robots: int
    """Number of robots."""

    @property
    def streams(self) -> Sequence[str]:
        """Streams of the poses."""
        return [f"robot{i}_{name}" for i in range(self.robots) for name in WIDTHS]

    @property
    def optional_streams(self) -> Sequence[str]:
        """Streams of the start and end pose."""
        return [f"robot{i}_{name}" for i in range(self.robots) for name in ENDS]

    def read(self, episode: Episode, samples: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Return the recorded samples."""
        found: dict[str, NDArray[Any]] = {}
        for i in range(self.robots):
            arrays = {name: self._read(episode, f"robot{i}_{name}", samples) for name in WIDTHS}
            found |= _with_ends(i, arrays)
            for name in ENDS:
                if _width(episode, f"robot{i}_{name}") == 6:
                    # The pose is constant within an episode, so any sample is right.
                    values = _values(episode, f"robot{i}_{name}")
                    rows = np.minimum(samples[f"robot{i}_eef_pos"], len(values) - 1)
                    found[f"robot{i}_{name}"] = values[rows].astype(np.float64)
        return found

    def _read(self, episode: Episode, stream: str, samples: Mapping[str, NDArray[np.int64]]) -> NDArray[Any]:
        values = _values(episode, stream)[samples[stream]]
        if not np.isfinite(values).all():
            raise UnfitEpisodeError(episode.index, f"{stream} has values that are not finite")
        return values

    def notes(self, episode: Episode) -> list[str]:
        """Return a note if the start and end poses are not recorded."""
        if all(_width(episode, name) == 6 for name in self.optional_streams):
            return []
        return ["The start and end pose of each demonstration are those of its first and last row."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedPoses:
    """Poses computed by forward kinematics from the joint positions."""

    robot: str
    """Name of the robot."""

    @property
    def streams(self) -> Sequence[str]:
        """The stream of joint positions."""
        return [schema.STATE]

    @property
    def optional_streams(self) -> Sequence[str]:
        """None."""
        return []

    def read(self, episode: Episode, samples: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Return the poses at the joint positions of the rows."""
        robot = load_robot(self.robot)
        position = episode.values(schema.STATE, "position")[samples[schema.STATE]]
        joints = episode.field(schema.STATE, "position").labels
        missing = [name for name in robot.joint_names if name not in joints]
        if missing:
            raise UnfitEpisodeError(episode.index, f"{schema.STATE} lacks joints: {', '.join(missing)}")
        if not np.isfinite(position).all():
            raise UnfitEpisodeError(episode.index, f"{schema.STATE} has positions that are not finite")
        found: dict[str, NDArray[Any]] = {}
        for i, effector in enumerate(robot.end_effectors):
            poses = EndEffectorKinematics(robot, effector, joints).poses(position)
            found |= _with_ends(
                i,
                {
                    "eef_pos": poses.position,
                    "eef_rot_axis_angle": poses.rotation,
                    "gripper_width": poses.width[:, None],
                },
            )
        return found

    def notes(self, episode: Episode) -> list[str]:
        """Return a note about the origin of the poses."""
        return [
            f"End effector poses are computed from {schema.STATE} and the MJCF of {self.robot}, in its base frame.",
            "The start and end pose of each demonstration are those of its first and last row.",
        ]


def _with_ends(robot: int, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return UMI's key -> values of one robot: the poses as float32, the repeated start and end pose as float64."""
    found: dict[str, NDArray[Any]] = {f"robot{robot}_{name}": arrays[name].astype(np.float32) for name in WIDTHS}
    pose = np.concatenate([found[f"robot{robot}_{name}"] for name in ("eef_pos", "eef_rot_axis_angle")], axis=1)
    for name, row in ENDS.items():
        found[f"robot{robot}_{name}"] = np.tile(pose[row], (len(pose), 1)).astype(np.float64)
    return found


def _width(episode: Episode, stream: str) -> int:
    """Return the number of values per row of a stream with one field; 0 for other streams."""
    found = episode.streams.get(stream)
    return len(found.fields[0].labels) if isinstance(found, ScalarStream) and len(found.fields) == 1 else 0


def _values(episode: Episode, stream: str) -> NDArray[Any]:
    """Return the values of a stream with one field, shape (samples, width)."""
    described = episode.streams[stream]
    assert isinstance(described, ScalarStream)
    return episode.values(stream, described.fields[0].name)
