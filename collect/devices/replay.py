"""Replays the commands of a recorded episode, while the operator holds a key.

The robot first moves from where it stands to the first command, slowly. Letting go pauses; holding the key again moves
back to where the replay was paused, and continues.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.collect.devices import terminal_keys
from waldo.collect.devices.device import Observation, Session
from waldo.errors import FileError, HardwareError, InvalidValueError, MissingOptionError
from waldo.robots.description import Robot
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

PLAY_KEY = "p"
"""The key that is held to replay; it is the dead-man switch."""

AT_COMMAND = 1e-3
"""Distance of every joint from the recorded command at which its time passes [rad or m]."""

LEAD_S, MIN_LEAD = 0.25, 0.1
"""Maximum lead of the target over the robot, as time at full speed [s], and its lower bound [rad or m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions(TypedOptions):
    """Options of a replay."""

    path: str = ""
    """Folder or address of the dataset."""
    episode: int = 0
    """Index of the episode."""
    action: Literal["command", "sent"] = "command"
    """The commands to replay: those of the operator, or those that the robot applied."""
    time_ratio: float = 1.0
    """Speed of the replay over that of the recording, above 0 to 1."""
    speed_ratio: float = 0.25
    """Speed of the motion to the first command, as a fraction of each joint's speed limit."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a ratio outside 0 to 1, and MissingOptionError without a path."""
        TypedOptions.__post_init__(self)
        for name in ("time_ratio", "speed_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidValueError(name, getattr(self, name), "a number above 0, up to 1")
        if not self.path:
            raise MissingOptionError("the device replay", "path", "pass --option path=FOLDER")


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded commands."""

    time_s: Array
    """Time since the first command, shape (T,) [s]."""
    position: Array
    """Joint targets, shape (T, joints) [rad or m]."""

    @property
    def duration_s(self) -> float:
        """Time of the last command [s]."""
        return float(self.time_s[-1])

    def at(self, time_s: float) -> Array:
        """Return the targets (joints,) [rad or m] at a time, interpolated between two commands."""
        after = int(np.searchsorted(self.time_s, time_s, side="right"))
        if after in (0, len(self.time_s)):
            return self.position[min(after, len(self.time_s) - 1)].copy()
        start, end = self.time_s[after - 1], self.time_s[after]
        ratio = (time_s - start) / (end - start)
        return (1 - ratio) * self.position[after - 1] + ratio * self.position[after]


class Replay:
    """A Device that replays the commands of an episode."""

    Options = ReplayOptions

    usage = f"hold {PLAY_KEY} to replay   {terminal_keys.HELP}"
    """The keys, for the operator."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Read the episode; `options` are those of `ReplayOptions`.

        Raises:
            FileError: If the dataset or the episode does not exist, or its commands cannot be replayed.
            InvalidValueError: If its joints are not those of the robot.
        """
        self.options = build_options(ReplayOptions, options)
        self._robot = robot
        self._recorded = read_commands(robot, self.options)
        speed = np.array([joint.velocity for joint in robot.joints])
        self._speed, self._lead = speed, np.maximum(speed * LEAD_S, MIN_LEAD)
        self._target: Array | None = None
        self._arrived = False
        self._time_s, self._done = 0.0, False
        self._playing = False
        self.keys = terminal_keys.TerminalKeys(self._press, self._release, usage=self.usage)
        """The reader of the terminal."""

    def open(self) -> None:
        """Start reading the terminal; raises HardwareError without one."""
        if not self.keys.available():
            raise HardwareError("the device replay requires a terminal, in which a key is held; run it in one")
        self.keys.open()

    def _press(self, key: str) -> bool:
        self._playing = self._playing or key == PLAY_KEY
        return key == PLAY_KEY

    def _release(self, key: str) -> None:
        if key == PLAY_KEY:
            self._playing = False

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets (joints,) [rad or m] while the key is held, else None."""
        self.keys.pass_to(session)
        with self.keys.lock:
            playing = self._playing
        if not playing or self.finished or not np.isfinite(observation.position).all():
            self._target, self._arrived = None, False
            return None
        if self._target is None:
            self._target = observation.position.copy()
            session.notify(f"moving to the command at {self._time_s:.1f} s of {self._recorded.duration_s:.1f} s")
        return self._advance(self._target, observation.position, session, dt_s)

    def _advance(self, last: Array, measured: Array, session: Session, dt_s: float) -> Array:
        """Return the target after a cycle on the way to the recorded command; its time passes once it is reached."""
        command = np.clip(self._recorded.at(self._time_s), self._robot.lower, self._robot.upper)
        bound = self._speed * dt_s * (1.0 if self._arrived else self.options.speed_ratio)
        moved = last + np.clip(command - last, -bound, bound)
        target = np.clip(moved, measured - self._lead, measured + self._lead)
        target = np.clip(target, self._robot.lower, self._robot.upper)
        self._target = target
        if np.abs(command - target).max() <= AT_COMMAND:
            if not self._arrived:
                session.notify("replaying")
            self._arrived = True
            end_s = self._recorded.duration_s
            self._done = self._time_s >= end_s
            self._time_s = min(self._time_s + dt_s * self.options.time_ratio, end_s)
        return target.copy()

    @property
    def finished(self) -> bool:
        """Whether the whole episode was replayed, escape was pressed, or the terminal was closed."""
        return self._done or self.keys.finished

    def close(self) -> None:
        """Restore the terminal."""
        self.keys.close()


def read_commands(robot: Robot, options: ReplayOptions) -> Recorded:
    """Return the commands of an episode, with the joints in the robot's order.

    Raises:
        FileError: If the dataset or episode does not exist, or its commands are too few, not in order or not finite.
        InvalidValueError: If its joints are not those of the robot.
    """
    from waldo.datasets import schema
    from waldo.datasets.dataset import Dataset

    episode = Dataset.open(options.path).episode(options.episode)
    stream, name = schema.ACTION_STREAMS[options.action], f"episode {options.episode} of {Path(options.path).name}"
    if stream not in episode.streams:
        raise FileError(options.path, f"episode {options.episode} has no stream {stream}")
    joints = episode.field(stream, "position").labels
    if set(joints) != set(robot.joint_names):
        raise InvalidValueError(f"joints of {name}", joints, f"those of {robot.name}: {robot.joint_names}")
    order = [joints.index(joint) for joint in robot.joint_names]
    position = episode.values(stream, "position")[:, order].astype(np.float64)
    # A row without numbers records that the operator let go.
    engaged = ~np.isnan(position).all(axis=1)
    position, time_ns = position[engaged], episode.time_ns(stream)[engaged]
    _check(options, position, time_ns)
    return Recorded((time_ns - time_ns[0]) / 1e9, position)


def _check(options: ReplayOptions, position: Array, time_ns: NDArray[np.int64]) -> None:
    """Raise FileError unless commands can be replayed."""
    episode = f"episode {options.episode}"
    if len(position) < 2:
        raise FileError(options.path, f"{episode} has {len(position)} commands; at least 2 are needed")
    if not np.isfinite(position).all():
        raise FileError(options.path, f"{episode} has commands that are not finite numbers; run waldo check")
    if (np.diff(time_ns) <= 0).any():
        raise FileError(options.path, f"the commands of {episode} are not in order of time; run waldo check")
