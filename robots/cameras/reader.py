"""A thread that reads one camera, and opens it again when it is lost: the gap stays a gap, and is said.

No picture is shown twice. While a camera is away there are none; the recorder sees the stream fall silent, and `note`
tells why.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from waldo.errors import HardwareError
from waldo.robots.cameras.source import Source
from waldo.robots.driver import Frame

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
"""Wait before a lost camera is opened again: it doubles with each try [s]."""
KEPT = 60
"""Pictures that are kept for a caller that is late: two seconds at 30 Hz."""


class CameraReader:
    """One camera's pictures, oldest first."""

    def __init__(
        self, camera: str, source: Source, wait: Callable[[threading.Event, float], object] | None = None
    ) -> None:
        """Take the camera's name, where its pictures come from, and how to wait (a test does not)."""
        self.camera, self._source = camera, source
        self._wait = wait or (lambda ended, seconds: ended.wait(seconds))
        self._frames: deque[Frame] = deque(maxlen=KEPT)
        self._events: deque[str] = deque(maxlen=KEPT)
        self._note = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open the camera and begin to read; a camera that is not there at the start is an error."""
        self._source.open()
        self._ended.clear()
        self._thread = threading.Thread(target=self._work, name=f"camera {self.camera}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._ended.is_set():
                picture = self._source.read()
                if picture is None:
                    self._come_back()
                    continue
                with self._lock:
                    self._frames.append(Frame(camera=self.camera, stamp_ns=time.time_ns(), rgb=picture))
        finally:
            self._source.close()

    def _come_back(self) -> None:
        """Open a lost camera again, waiting longer each time, until it is there or the reader ends."""
        lost_s = time.monotonic()
        self._say(f"camera {self.camera} ({self._source.name}) is lost; no pictures until it is back")
        wait_s = FIRST_WAIT_S
        while not self._ended.is_set():
            self._source.close()
            self._wait(self._ended, wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            try:
                self._source.open()
            except HardwareError:
                continue
            self._say("", f"camera {self.camera} ({self._source.name}) is back after {time.monotonic() - lost_s:.1f} s")
            return

    def _say(self, note: str, event: str = "") -> None:
        with self._lock:
            self._note = note
            self._events.append(event or note)

    @property
    def note(self) -> str:
        """What is wrong now, in words; empty where nothing."""
        with self._lock:
            return self._note

    def events(self) -> list[str]:
        """Return what has happened since the last call: lost, back."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            return events

    def frames(self) -> list[Frame]:
        """Return the pictures taken since the last call."""
        with self._lock:
            frames = list(self._frames)
            self._frames.clear()
            return frames

    def close(self) -> None:
        """Stop to read and close the camera."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ended.set()
            thread.join(10)
