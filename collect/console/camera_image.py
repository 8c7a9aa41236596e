"""One image of a camera, as it arrived."""

from __future__ import annotations

from dataclasses import dataclass

from waldo.datasets.recording.access_units import AccessUnit
from waldo.datasets.recording.live_decoder import LiveDecoder
from waldo.robots.cameras.ros_images import Image

QUALITY = 80
"""JPEG quality of images that a camera does not deliver as JPEG, 1 to 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraImage:
    """An image of a camera."""

    camera: str
    """Name of the camera."""
    image: bytes | Image | AccessUnit
    """JPEG, H.264, or pixels (height, width, 3) of red, green and blue."""
    stamp_ns: int
    """Time at which it was taken [ns]."""
    number: int
    """Number of the camera's images so far."""

    def jpeg(self, decoder: LiveDecoder | None = None) -> bytes:
        """Return the image as JPEG.

        Args:
            decoder: That of the camera's H.264; by default a new one, which has to decode all since the key frame.

        Raises:
            ImageError: If H.264 cannot be decoded before the next key frame.
        """
        if isinstance(self.image, bytes):
            return self.image
        import cv2

        rgb = (decoder or LiveDecoder()).decode(self.image) if isinstance(self.image, AccessUnit) else self.image
        _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return data.tobytes()
