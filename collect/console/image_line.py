"""The images of a page: what it is sent, what it has drawn, and how late that is.

A JPEG is sent when the page has drawn the one before, so that a slow page shows fewer images, not older ones. H.264 is
passed through to pages that decode it, in order; see `unit_line`. Other pages are sent JPEGs of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from waldo.collect.console.camera_image import CameraImage
from waldo.collect.console.unit_line import UnitLine
from waldo.datasets.recording.access_units import AccessUnit
from waldo.datasets.recording.live_decoder import LiveDecoder
from waldo.errors import ImageError

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

LOG = logging.getLogger("waldo.collect")

SHOWN_TIMEOUT_S = 2.0
"""Time after which an image that was not acknowledged is followed by another one [s]."""
LATENCIES = 30
"""Number of images over which the latency is stated."""
JPEG, H264, H264_KEY = 0, 1, 2
"""Formats of an image in its message: a JPEG, an access unit of H.264, and one that is a key frame."""


class ImageLine:
    """The images of one page."""

    def __init__(
        self,
        socket: WebSocket,
        images: Callable[[], Sequence[CameraImage]],
        units: Callable[[str], Sequence[CameraImage]] | None = None,
    ) -> None:
        """Initialize.

        Args:
            socket: An accepted WebSocket.
            images: Returns the newest image of each camera.
            units: Returns the last access units of a camera, for a page that may decode H.264 itself; by default it is
                sent JPEGs.
        """
        self._socket, self._newest, self._last_units = socket, images, units
        self.new = asyncio.Event()
        """Set when there may be something to send."""
        self.decodes_h264: bool | None = None if units else False
        """Whether the page decodes H.264; None as long as it has not stated that, and is sent none."""
        self._sent: dict[str, int] = {}
        """Camera -> number of the last JPEG that was sent."""
        self._open: dict[str, tuple[int, float]] = {}
        """Camera -> stamp of a JPEG that is not acknowledged yet [ns], and the time it was sent [s]."""
        self._units: dict[str, UnitLine] = defaultdict(UnitLine)
        self._decoders: dict[str, LiveDecoder] = defaultdict(LiveDecoder)
        self._latencies: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LATENCIES))

    def latency_s(self) -> dict[str, float]:
        """Return the median latency of each camera's last images, from the stamp to the acknowledgment [s]."""
        return {name: sorted(found)[len(found) // 2] for name, found in self._latencies.items() if found}

    def shown(self, camera: str, stamp: object) -> int | None:
        """Note that the page has drawn an image; return its time [ns], or None if it is not awaited.

        Args:
            camera: Its camera.
            stamp: Its time [ns], as a text: JavaScript's numbers are too small for it.
        """
        if not isinstance(stamp, str) or not stamp.isascii() or not stamp.isdecimal() or len(stamp) > 19:
            return None
        stamp_ns = int(stamp)
        expected = self._open.get(camera)
        if expected is not None and expected[0] == stamp_ns:
            del self._open[camera]
        elif camera not in self._units or not self._units[camera].confirm(stamp_ns):
            return None
        self._latencies[camera].append(time.time() - stamp_ns / 1e9)
        self.new.set()
        return stamp_ns

    async def send(self) -> None:
        """Send images until the page is closed."""
        while True:
            for image in self._newest():
                if not isinstance(image.image, AccessUnit):
                    await self._send_jpeg(image)
                elif self.decodes_h264 and self._last_units is not None:
                    for unit in self._units[image.camera].take(self._last_units(image.camera), time.monotonic()):
                        await self._send_unit(unit)
                elif self.decodes_h264 is not None:
                    await self._send_jpeg(image)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.new.wait(), SHOWN_TIMEOUT_S)
            self.new.clear()

    async def _send_jpeg(self, image: CameraImage) -> None:
        """Send an image as JPEG, unless the one before has not been drawn."""
        open_since = self._open.get(image.camera)
        is_waiting = open_since is not None and time.monotonic() - open_since[1] < SHOWN_TIMEOUT_S
        if is_waiting or self._sent.get(image.camera) == image.number:
            return
        self._sent[image.camera] = image.number
        try:
            data = await asyncio.to_thread(image.jpeg, self._decoders[image.camera])
        except ImageError as error:
            LOG.debug("camera %s: %s", image.camera, error)  # the recorder reports it
            return
        self._open[image.camera] = image.stamp_ns, time.monotonic()
        await self._send(image, JPEG, data)

    async def _send_unit(self, image: CameraImage) -> None:
        if isinstance(image.image, AccessUnit):
            await self._send(image, H264_KEY if image.image.key else H264, image.image.data)

    async def _send(self, image: CameraImage, form: int, data: bytes) -> None:
        name = image.camera.encode()
        head = struct.pack("<H", len(name)) + name + struct.pack("<qB", image.stamp_ns, form)
        await self._socket.send_bytes(head + data)
