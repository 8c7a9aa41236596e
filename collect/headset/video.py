"""The cameras' newest images, and how old those are that the operator sees."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from waldo.collect.console.camera_image import CameraImage
from waldo.datasets import schema
from waldo.robots.cameras.ros_images import Image


@dataclass(slots=True)
class Video:
    """Stores the images of a robot's color cameras; its methods may be called from any thread."""

    checked: str = ""
    """Camera whose age is that of the video; empty for the oldest of all."""
    needed: bool = True
    """Whether an operator who does not see the robot itself needs images."""
    on_image: Callable[[], None] = lambda: None
    """Called with each image."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _images: dict[str, CameraImage] = field(default_factory=dict[str, CameraImage])
    _drawn_ns: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, stream: str, image: bytes | Image, stamp_ns: int) -> None:
        """Store an image of a camera's stream; depth is not shown."""
        if not stream.startswith(schema.CAMERA_PREFIX):
            return
        camera = stream.removeprefix(schema.CAMERA_PREFIX)
        with self._lock:
            before = self._images.get(camera)
            number = 1 if before is None else before.number + 1
            self._images[camera] = CameraImage(camera=camera, image=image, stamp_ns=stamp_ns, number=number)
        self.on_image()

    def images(self) -> list[CameraImage]:
        """Return the newest image of each camera."""
        with self._lock:
            return list(self._images.values())

    def draw(self, camera: str, stamp_ns: int) -> None:
        """Store that the operator's page has drawn an image."""
        with self._lock:
            self._drawn_ns[camera] = max(stamp_ns, self._drawn_ns.get(camera, stamp_ns))

    def forget_drawn(self) -> None:
        """Forget what has been drawn: another page operates now."""
        with self._lock:
            self._drawn_ns.clear()

    def ages_s(self, now_ns: int) -> Mapping[str, float]:
        """Return the age of the image of each camera that the operator sees [s]; infinite if there is none."""
        with self._lock:
            return {
                camera: (now_ns - self._drawn_ns[camera]) / 1e9 if camera in self._drawn_ns else math.inf
                for camera in self._images
            }

    def age_s(self, now_ns: int, *, sees_robot: bool) -> float | None:
        """Return the age of the video [s]; None if it does not matter, as the operator sees the robot itself.

        Args:
            now_ns: The present on the clock of the stamps [ns].
            sees_robot: Whether the operator sees the robot itself.
        """
        if sees_robot or not self.needed:
            return None
        ages = self.ages_s(now_ns)
        if self.checked:
            return ages.get(self.checked, math.inf)
        return max(ages.values(), default=math.inf)
