"""How an episode is resampled to rows. Imports nothing heavy, so that commands can list these options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from waldo.datasets import schema
from waldo.datasets.schema import Action
from waldo.errors import InvalidValueError, UnknownNameError, WaldoError

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode


CLOCKS = ("receipt", "header")
"""Stamps by which the messages of a stream can be placed."""


class UnfitEpisodeError(WaldoError):
    """An episode that cannot be exported or used for training."""

    def __init__(self, index: int, why: str) -> None:
        """Build the message from the index of the episode and the reason."""
        self.index, self.why = index, why
        super().__init__(f"episode {index}: {why}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the facts, not the message, so that worker processes can return the error."""
        return type(self), (self.index, self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """How an episode is resampled to rows."""

    fps: int = 30
    """Rows per second."""
    cameras: tuple[str, ...] | None = ()
    """Cameras by name, such as `front wrist`; all by default, `none` for rows without images."""
    action: Action = "command"
    """The action to learn: the operator's `command`, or the command `sent` to the motors by the safety chain."""
    environment: bool = True
    """Include the ground truth of a simulation as `observation.environment_state`."""
    max_staleness_s: float = 0.25
    """Largest distance in time between a sample and its row; an episode with a longer gap is skipped [s]."""
    stamps: tuple[str, ...] = ()
    """Stamps by which messages are placed, for streams of a device with its own clock: `joints/state=receipt` (when the
    recorder received them) or `joints/state=header` (the publisher's, although they differ from the other streams')."""
    without: tuple[str, ...] = ()
    """Streams of telemetry and other numbers whose columns are left out, such as `motors next.reward`."""
    keep_not_following: bool = False
    """Also use episodes in which the robot did not follow its commands for a time."""

    def __post_init__(self) -> None:
        """Validate the values and normalize `cameras`."""
        if self.fps < 1:
            raise InvalidValueError("fps", self.fps, "a whole number from 1")
        if self.max_staleness_s < 0:
            raise InvalidValueError("max_staleness_s", self.max_staleness_s, "0 s or more")
        stamp_choices(self.stamps)
        if self.cameras == ("none",):
            object.__setattr__(self, "cameras", None)

    def resolve(self, episode: Episode) -> RowConfig:
        """Return this config with `cameras` replaced by the stream names of an episode, None if there are none.

        Raises:
            UnknownNameError: If the episode does not have a camera, or a stream of `stamps` or `without`.
        """
        stamp_choices(self.stamps, episode)
        for name in self.without:
            if name not in episode.streams:
                raise UnknownNameError("stream", name, episode.streams)
        return replace(self, cameras=camera_streams(episode, self.cameras) or None)


def stamp_choices(texts: Sequence[str], episode: Episode | None = None) -> Mapping[str, str]:
    """Return stream -> "receipt" or "header" from texts such as "joints/state=receipt".

    Args:
        texts: The choices.
        episode: An episode that must have the streams.

    Raises:
        InvalidValueError: If a text is not a choice.
        UnknownNameError: If the episode does not have a stream.
    """
    found: dict[str, str] = {}
    for text in texts:
        stream, _, clock = text.rpartition("=")
        if not stream or clock not in CLOCKS:
            raise InvalidValueError("stamps", text, "STREAM=receipt or STREAM=header")
        if episode is not None and stream not in episode.streams:
            raise UnknownNameError("stream", stream, episode.streams)
        found[stream] = clock
    return found


def camera_streams(episode: Episode, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the streams of cameras.

    Args:
        episode: The episode that has the streams.
        names: Names with or without the prefix "cameras/"; empty for all cameras, None for none.

    Raises:
        UnknownNameError: If the episode does not have a camera.
    """
    if names is None:
        return ()
    streams = {schema.camera_name(stream): stream for stream in episode.cameras}
    for name in names:
        if schema.camera_name(name) not in streams:
            raise UnknownNameError("camera", name, streams)
    return tuple(streams[schema.camera_name(name)] for name in names or streams)
