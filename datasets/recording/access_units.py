"""Live H.264: one access unit for each message of a camera, in Annex B.

An access unit is one encoded frame (ITU-T H.264, 3.1). One with an IDR slice is a key frame, which can be decoded
without any other; it starts a group, and each further one needs all before it in the group. Streams without B-frames
are supported, as cameras send them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waldo.datasets.video.h264 import NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS, START_CODE, nal_units
from waldo.errors import ImageError

MAX_GROUP = 600
"""Number of access units of a group that are kept, so that a decoder can start within the group: 20 s at 30 Hz."""


@dataclass(slots=True, eq=False)
class Group:
    """The access units since a key frame, in order; appended to on one thread, and read on others."""

    units: list[bytes] = field(default_factory=list[bytes])
    """Annex B; not complete if there are more than MAX_GROUP."""


@dataclass(frozen=True, slots=True, eq=False)
class AccessUnit:
    """One encoded frame of a camera."""

    data: bytes
    """Annex B; that of a key frame contains its parameter sets."""
    group: Group
    """The group that it is part of."""
    index: int
    """Place in the group; 0 is the key frame."""

    @property
    def key(self) -> bool:
        """Whether it can be decoded without any other."""
        return self.index == 0

    def since(self, other: AccessUnit | None) -> list[bytes] | None:
        """Return what a decoder needs for this access unit, itself included.

        Args:
            other: The one that the decoder has decoded last; None for a new decoder.

        Returns:
            Annex B in order; None if the decoder has to wait for the next key frame.
        """
        if other is not None and other.group is self.group and other.index == self.index - 1:
            return [self.data]
        start = other.index + 1 if other is not None and other.group is self.group else 0
        if start > self.index or self.index >= MAX_GROUP:
            return None
        return self.group.units[start : self.index + 1]


class AccessUnits:
    """Recognizes the access units of one camera's messages."""

    def __init__(self) -> None:
        """Initialize before the first message."""
        self._sets: dict[int, bytes] = {}
        """Type of a NAL unit -> the newest parameter set."""
        self._group: Group | None = None
        self._next = 0
        self._waiting = "the stream has started without one"

    def add(self, data: bytes, missing: int = 0) -> AccessUnit | None:
        """Return the access unit of a message; None for one that contains parameter sets only.

        Args:
            data: Annex B.
            missing: Number of messages that were lost before this one.

        Raises:
            ImageError: If it cannot be decoded: it is not H.264, or needs a frame that was lost or never sent.
        """
        units = {unit[0] & 31: unit for unit in nal_units(data) if unit}
        self._sets |= {kind: units[kind] for kind in (NAL_SPS, NAL_PPS) if kind in units}
        if missing:
            self._wait(f"{missing} lost before this message")
        is_key = NAL_IDR in units
        if not is_key and NAL_SLICE not in units:
            if units.keys() & {NAL_SPS, NAL_PPS}:
                return None
            self._wait("a message contained none")
            raise ImageError(f"{len(data)} bytes without a frame, expected one H.264 access unit in Annex B")
        if is_key:
            return self._start(data, units)
        if self._group is None:
            raise ImageError(
                f"waits for a key frame ({self._waiting}); set the camera to an interval of key frames of 1 or 2 s"
            )
        return self._append(self._group, data)

    def _start(self, data: bytes, units: Mapping[int, bytes]) -> AccessUnit:
        """Start a group; a camera may send its parameter sets once, at its start."""
        if not {NAL_SPS, NAL_PPS} <= self._sets.keys():
            self._wait("the parameter sets were not received")
            raise ImageError("a key frame without parameter sets; set the camera to repeat SPS and PPS")
        before = b"".join(START_CODE + self._sets[kind] for kind in (NAL_SPS, NAL_PPS) if kind not in units)
        self._group, self._next = Group(), 0
        return self._append(self._group, before + data)

    def _append(self, group: Group, data: bytes) -> AccessUnit:
        if self._next < MAX_GROUP:
            group.units.append(data)
        found = AccessUnit(data, group, self._next)
        self._next += 1
        return found

    def _wait(self, reason: str) -> None:
        """Wait for the next key frame."""
        self._group, self._waiting = None, reason
