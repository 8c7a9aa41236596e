"""Which access units of a camera a page is sent: all of them in order, from a key frame on, while it keeps up.

A decoder needs every access unit since the key frame. So a page that is behind is sent none until the next key frame,
rather than fewer ones. It is behind when an access unit that it was sent is not confirmed in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from waldo.collect.console.camera_image import CameraImage
from waldo.datasets.recording.access_units import AccessUnit

BEHIND_S = 1.0
"""Age of an access unit that is not confirmed from which a page is behind [s]: several round trips of a remote link."""
GIVE_UP_S = 5.0
"""Time after which confirmations are no longer expected [s]: the page has dropped what it was sent."""


class UnitLine:
    """The access units of one camera on their way to one page."""

    def __init__(self) -> None:
        """Initialize for a new page, which waits for a key frame."""
        self._last: int | None = None
        """Number of the image that was sent last, or from which on a key frame is awaited."""
        self._follows = False
        """Whether the page has all access units since a key frame."""
        self._open: deque[tuple[int, float]] = deque()
        """Stamp of each access unit that is not confirmed [ns], and when it was sent [s]."""

    def take(self, images: Sequence[CameraImage], now_s: float) -> list[CameraImage]:
        """Return the access units to send now.

        Args:
            images: The camera's last images, in order.
            now_s: The present, on any clock [s].
        """
        if not images:
            return []
        if self._last is None:
            self._last = images[-1].number - 1
        if self._open and now_s - self._open[0][1] > BEHIND_S:
            self._follows = False
        new = [image for image in images if image.number > self._last]
        # Of a page that is sent nothing for long, not all images since are kept.
        if not self._follows or (new and new[0].number != self._last + 1):
            new = self._from_key_frame(new, now_s)
        if new:
            self._follows, self._last = True, new[-1].number
            self._open.extend((image.stamp_ns, now_s) for image in new)
        return new

    def _from_key_frame(self, new: list[CameraImage], now_s: float) -> list[CameraImage]:
        """Return the images from the last key frame on; none before the page has confirmed all that it was sent."""
        if self._open and now_s - self._open[-1][1] < GIVE_UP_S:
            return []
        self._open.clear()
        keys = [place for place, one in enumerate(new) if isinstance(one.image, AccessUnit) and one.image.key]
        return new[keys[-1] :] if keys else []

    def confirm(self, stamp_ns: int) -> bool:
        """Note that an access unit was drawn, and with it those before; return whether it was awaited."""
        if not any(stamp == stamp_ns for stamp, _ in self._open):
            return False
        while self._open.popleft()[0] != stamp_ns:
            pass
        return True
