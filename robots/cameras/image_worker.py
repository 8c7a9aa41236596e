"""A thread that encodes and publishes camera frames, so that encoding never delays the control cycle."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from waldo.robots.diagnostics import ERROR
from waldo.robots.driver import Frame
from waldo.robots.event import Event

CAPACITY = 60
"""Frames that may wait to be encoded: one second of two cameras at 30 fps."""

LOG = logging.getLogger(__name__)


def encode_jpeg(frame: Frame, quality: int) -> bytes:
    """Return a frame as JPEG: the camera's own bytes, or its pixels encoded with a quality of 1 to 100."""
    if frame.jpeg is not None:
        return frame.jpeg
    import cv2

    bgr = cv2.cvtColor(frame.to_rgb(), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


class ImageWorker:
    """Encodes and publishes frames in the order in which they were put.

    When it falls behind, it drops the oldest frames and reports the camera as faulty until it has caught up.
    """

    def __init__(
        self, encode: Callable[[Frame], bytes], publish: Callable[[Frame, bytes], None], capacity: int = CAPACITY
    ) -> None:
        """`encode` and `publish` are called on the thread, which runs while the worker is entered as a context."""
        self._encode, self._publish, self._capacity = encode, publish, capacity
        self._frames: deque[Frame] = deque()
        self._busy = self._closed = False
        self._dropped: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="camera images", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Publish the queued frames and end the thread."""
        thread, self._thread = self._thread, None
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def put(self, frame: Frame) -> None:
        """Queue a frame; never blocks."""
        with self._changed:
            if len(self._frames) >= self._capacity:
                self._drop(self._frames.popleft())
            self._frames.append(frame)
            self._changed.notify_all()

    @property
    def is_idle(self) -> bool:
        """Whether every queued frame has been published."""
        with self._changed:
            return not (self._frames or self._busy)

    def camera_faults(self) -> Mapping[str, str]:
        """Return the present fault of each camera, as text."""
        with self._changed:
            behind = {camera: f"encoder falling behind: {n} frames dropped" for camera, n in self._dropped.items()}
            return {**behind, **self._failed}

    def events(self) -> Sequence[Event]:
        """Return the events since the last call: dropped frames and frames that cannot be encoded."""
        with self._changed:
            events, self._events = self._events, []
            return events

    def _drop(self, frame: Frame) -> None:
        if frame.camera not in self._dropped:
            self._events.append(Event(f"camera {frame.camera}: encoder falling behind, dropping frames", ERROR))
        self._dropped[frame.camera] = self._dropped.get(frame.camera, 0) + 1

    def _work(self) -> None:
        while (frame := self._next()) is not None:
            fault = self._send(frame)
            with self._changed:
                self._busy = False
                self._note_fault(frame.camera, fault)
                if self._dropped and not self._frames:
                    self._events += [
                        Event(f"camera {camera}: encoder caught up after {n} dropped frames")
                        for camera, n in self._dropped.items()
                    ]
                    self._dropped.clear()
                self._changed.notify_all()

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._frames) or self._closed)
            if not self._frames:
                return None
            self._busy = True
            return self._frames.popleft()

    def _send(self, frame: Frame) -> str:
        """Encode and publish a frame; return why it failed, or an empty text."""
        try:
            self._publish(frame, self._encode(frame))
        except Exception as error:
            # The thread must outlive a bad frame; the fault is reported.
            LOG.debug("camera %s", frame.camera, exc_info=True)
            return f"frame cannot be encoded ({' '.join(str(error).split()) or type(error).__name__})"
        return ""

    def _note_fault(self, camera: str, fault: str) -> None:
        if fault and camera not in self._failed:
            self._events.append(Event(f"camera {camera}: {fault}", ERROR))
        if not fault and camera in self._failed:
            self._events.append(Event(f"camera {camera}: frames are encoded again"))
            del self._failed[camera]
        if fault:
            self._failed[camera] = fault
