"""The decoder of a camera that publishes H.264: one frame for each access unit, and never a wrong one."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from waldo.datasets.recording.access_units import AccessUnit, Group
from waldo.datasets.video.color import rgb_of
from waldo.errors import ImageError


class LiveDecoder:
    """Decodes the access units of one camera; it may start anywhere, and need not be given each of them."""

    def __init__(self) -> None:
        """Initialize before the first access unit."""
        self._context: Any = None
        self._last: AccessUnit | None = None
        self._damaged: Group | None = None

    def decode(self, unit: AccessUnit) -> NDArray[np.uint8]:
        """Return the frame, uint8 of shape (H, W, 3); decodes those before it in its group that are needed.

        Raises:
            ImageError: If that is impossible until the next key frame.
        """
        units = None if unit.group is self._damaged else unit.since(self._last)
        if units is None:
            raise ImageError("waits for a key frame: a frame before this one is damaged or unknown")
        if self._context is None or units[0] is unit.group.units[0]:
            self._context = _new_context()
        try:
            frames = [self._frame(data) for data in units]
        except ImageError:
            self._context, self._last, self._damaged = None, None, unit.group
            raise
        self._last = unit
        return rgb_of(frames[-1])

    def _frame(self, data: bytes) -> Any:
        try:
            frames = self._context.decode(av.Packet(data))
        except av.FFmpegError as error:
            raise ImageError(f"an H.264 frame of {len(data)} bytes is damaged: {error}") from error
        if len(frames) != 1:
            raise ImageError("an H.264 stream with B-frames, expected one without; configure the camera's encoder")
        if frames[0].is_corrupt:
            raise ImageError(f"an H.264 frame of {len(data)} bytes is damaged")
        return frames[0]


def key_frame(unit: AccessUnit) -> NDArray[np.uint8] | None:
    """Return the frame of a key frame, uint8 of shape (H, W, 3); None for any other access unit.

    Raises:
        ImageError: If it is damaged.
    """
    return LiveDecoder().decode(unit) if unit.key else None


def _new_context() -> Any:
    context: Any = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    # Without B-frames each frame is output at once; damaged ones are refused instead of concealed.
    context.flags |= Flags.low_delay
    context.options = {"err_detect": "explode"}
    return context
