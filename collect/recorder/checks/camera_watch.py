"""What each camera shows at present: whether its image is dark, and for how long it has not changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from waldo.datasets import schema
from waldo.datasets.quality.finding import Finding
from waldo.datasets.quality.images import brightness, check_dark, check_frozen, describe_dark
from waldo.datasets.quality.rules import Rules
from waldo.datasets.video.images import equal_images
from waldo.robots.cameras.ros_images import Image
from waldo.typing import Array

DARK_NS = 1_000_000_000
"""Interval at which a camera's brightness is checked [ns]."""


@dataclass(slots=True)
class _Camera:
    image: bytes | Image
    since_ns: int
    """Stamp of the first of the equal images [ns]."""
    dark_due_ns: int
    dark: str = ""
    """What is wrong with its brightness."""
    frozen: bool = False
    low: Array | None = None
    """Smallest position of each joint since then [rad]."""
    high: Array | None = None
    """Largest position of each joint since then [rad]."""


class CameraWatch:
    """Watches the color cameras of a robot that publishes its states; depth is not watched."""

    def __init__(self, rules: Rules) -> None:
        """Initialize without cameras."""
        self._rules = rules
        self._cameras: dict[str, _Camera] = {}

    def state(self, position: Array) -> None:
        """Add the positions of the joints, shape (joints,) [rad or m]."""
        for camera in self._cameras.values():
            camera.low = position if camera.low is None else np.fmin(camera.low, position)
            camera.high = position if camera.high is None else np.fmax(camera.high, position)

    def image(self, stream: str, image: bytes | Image, at_ns: int, first_ns: int) -> list[Finding]:
        """Add an image; return what is wrong with it.

        Args:
            stream: The camera's stream.
            image: A JPEG, or pixels (H, W, 3).
            at_ns: Its stamp [ns].
            first_ns: Stamp to which the times in the findings are relative [ns].
        """
        if not stream.startswith(schema.CAMERA_PREFIX):
            return []
        camera = self._cameras.get(stream)
        if camera is None:
            camera = self._cameras[stream] = _Camera(image, at_ns, at_ns)
        elif not equal_images(camera.image, image):
            camera.image, camera.since_ns, camera.frozen = image, at_ns, False
            camera.low = camera.high = None
        found: list[Finding] = []
        if camera.low is not None and camera.high is not None:
            # A joint whose position is not known has not moved.
            moved = float(np.nan_to_num(camera.high - camera.low).max())
            frozen = check_frozen(stream, camera.since_ns, at_ns, moved, self._rules, first_ns)
            camera.frozen = frozen is not None
            found += [frozen] if frozen else []
        # A publisher's clock may also have been set back.
        if not 0 <= camera.dark_due_ns - at_ns < DARK_NS or camera.dark_due_ns == at_ns:
            camera.dark_due_ns = at_ns + DARK_NS
            gray = brightness(image)
            camera.dark = "" if gray is None else describe_dark(gray, self._rules)
            if camera.dark:
                found.append(check_dark(stream, camera.dark, (at_ns - first_ns) / 1e9))
        return found

    def present(self) -> Iterator[tuple[str, str]]:
        """Yield the stream of each camera whose image is of no use at present, and why."""
        for stream, camera in sorted(self._cameras.items()):
            if camera.dark:
                yield stream, f"its image {camera.dark}; check its lens cap and exposure"
            if camera.frozen:
                yield stream, "its image does not change while the robot moves; check its cable and its driver"
