"""A thread that reads one camera and reconnects it when it is lost.

No image is delivered twice. While a camera is disconnected it delivers none: the recorder sees a gap in the stream, and
`fault` states the reason.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from waldo.errors import HardwareError
from waldo.robots.cameras.source import Image, Source
from waldo.robots.diagnostics import ERROR
from waldo.robots.driver import Frame
from waldo.robots.event import Event

FIRST_WAIT_S, MAX_WAIT_S = 0.5, 10.0
"""Wait before the first attempt to reconnect, doubled with each attempt, and its maximum [s]."""
CAPACITY = 60
"""Images kept for a slow caller: two seconds at 30 fps."""


class CameraReader:
    """The images of one camera, oldest first."""

    def __init__(
        self, camera: str, source: Source, wait: Callable[[threading.Event, float], object] | None = None
    ) -> None:
        """Start disconnected.

        Args:
            camera: Name of the camera.
            source: Device that delivers the images.
            wait: Function that waits for an event or a time [s]; `threading.Event.wait` if None.
        """
        self.camera, self._source = camera, source
        self._wait = wait or (lambda closed, seconds: closed.wait(seconds))
        self._frames: deque[Frame] = deque(maxlen=CAPACITY)
        self._events: deque[Event] = deque(maxlen=CAPACITY)
        self._fault = ""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open the camera and start to read.

        Raises:
            HardwareError: If the camera cannot be opened.
        """
        self._source.open()
        self._closed.clear()
        self._thread = threading.Thread(target=self._work, name=f"camera {self.camera}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._closed.is_set():
                image = self._source.read()
                if image is None:
                    self._reconnect()
                    continue
                frame = self._frame(image)
                with self._lock:
                    self._frames.append(frame)
        finally:
            self._source.close()

    def _frame(self, image: Image) -> Frame:
        stamp_ns = time.time_ns()
        if isinstance(image, bytes):
            return Frame(camera=self.camera, stamp_ns=stamp_ns, jpeg=image)
        return Frame(camera=self.camera, stamp_ns=stamp_ns, rgb=image)

    def _reconnect(self) -> None:
        """Open the camera again, with increasing waits, until it is connected or the reader is closed."""
        disconnected_s = time.monotonic()
        fault = f"{self._source.name} disconnected"
        self._report(fault, Event(f"camera {self.camera}: {fault}; no images until it reconnects", ERROR))
        wait_s = FIRST_WAIT_S
        while not self._closed.is_set():
            self._source.close()
            self._wait(self._closed, wait_s)
            wait_s = min(2 * wait_s, MAX_WAIT_S)
            try:
                self._source.open()
            except HardwareError:
                continue
            after_s = time.monotonic() - disconnected_s
            self._report("", Event(f"camera {self.camera}: {self._source.name} reconnected after {after_s:.1f} s"))
            return

    def _report(self, fault: str, event: Event) -> None:
        with self._lock:
            self._fault = fault
            self._events.append(event)

    @property
    def fault(self) -> str:
        """The present fault as text; empty if there is none."""
        with self._lock:
            return self._fault

    def events(self) -> list[Event]:
        """Return the events since the last call: disconnected, reconnected."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            return events

    def frames(self) -> list[Frame]:
        """Return the images taken since the last call."""
        with self._lock:
            frames = list(self._frames)
            self._frames.clear()
            return frames

    def close(self) -> None:
        """Stop reading and close the camera."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closed.set()
            thread.join(10)
