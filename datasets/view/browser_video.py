"""A camera's frames as an MP4 for browsers: the recorded bytes if browsers can play them, otherwise encoded again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.streams import DepthStream, ImageStream
from waldo.datasets.video.encoder import Encoder
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.mp4shard import rate_fraction, write_mp4

CRF = 23
"""Quality of frames that are encoded for viewing (H.264 constant rate factor)."""

GOP = 10
"""Length of a group of pictures that is encoded for viewing; short, for fast seeking."""

FRAMES_AT_ONCE = 30
"""Number of frames that are decoded at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserVideo:
    """An MP4 with a constant rate: frame k is displayed from k / fps."""

    data: bytes
    """Contents of the file."""
    fps: float
    """Frame rate of the file [Hz]."""
    width: int
    """Width [px]."""
    height: int
    """Height [px]."""
    note: str
    """Differences from the recording; empty for the recorded bytes."""


def browser_video(episode: Episode, camera: str, max_height: int = 0) -> BrowserVideo:
    """Return a camera's frames for a browser.

    Args:
        episode: The episode.
        camera: Camera or depth stream.
        max_height: Largest height [px]; 0 for the recorded size.

    Raises:
        FileError: If the frames cannot be read.
    """
    stream = episode.image_stream(camera)
    rate = rate_fraction(stream.rate_hz)
    scale = min(1.0, max_height / stream.height) if max_height else 1.0
    if scale == 1.0 and not isinstance(stream, DepthStream) and stream.codec == "h264":
        data = episode.video_path(camera).read_bytes()
        return BrowserVideo(data=data, fps=float(rate), width=stream.width, height=stream.height, note="")
    # YUV 4:2:0 requires even sizes.
    width, height = (max(2, round(side * scale / 2) * 2) for side in (stream.width, stream.height))
    coder = Encoder(width=width, height=height, gop=GOP, crf=CRF, rate=rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        write_mp4(path, _packets(coder, _images(episode, stream, width, height)), rate)
        data = path.read_bytes()
    return BrowserVideo(data=data, fps=float(rate), width=width, height=height, note=_note(stream, scale, height))


def color_depth(depth: NDArray[np.uint16], nearest: float, farthest: float) -> NDArray[np.uint8]:
    """Return a depth image, uint16 (H, W), as RGB, uint8 (H, W, 3): near is warm, unmeasured is black."""
    span = max(farthest - nearest, 1.0)
    gray = np.clip(255 - (depth - nearest) * 255 / span, 0, 255).astype(np.uint8)
    bgr = cv2.applyColorMap(gray, cv2.COLORMAP_TURBO)
    bgr[depth == 0] = 0
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def depth_range(episode: Episode, camera: str) -> tuple[float, float]:
    """Return the depth values that the color scale spans: the 1 % and 99 % quantiles of a few images."""
    frames = episode.count(camera)
    sample = episode.frames(camera, np.unique(np.linspace(0, frames - 1, min(frames, 8)).astype(int)))
    known = sample[sample > 0]
    return (float(np.quantile(known, 0.01)), float(np.quantile(known, 0.99))) if known.size else (0.0, 1.0)


def _images(episode: Episode, stream: ImageStream, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield a stream's frames as RGB of this size."""
    shard, count = episode.shard(stream.name), episode.count(stream.name)
    span = depth_range(episode, stream.name) if isinstance(stream, DepthStream) else (0.0, 0.0)
    for first in range(0, count, FRAMES_AT_ONCE):
        for image in shard.read(range(first, min(first + FRAMES_AT_ONCE, count))):
            rgb = color_depth(image, *span) if isinstance(stream, DepthStream) else image
            if rgb.shape[:2] != (height, width):
                rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            yield np.ascontiguousarray(rgb)


def _packets(coder: Encoder, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Packet]:
    for frame in frames:
        yield from coder.encode(frame)
    yield from coder.flush()


def _note(stream: ImageStream, scale: float, height: int) -> str:
    """Return the differences from the recording."""
    kind = "depth in color, near is warm" if isinstance(stream, DepthStream) else f"recorded as {stream.codec}"
    scaled = f", scaled from {stream.height} to {height} pixels high" if scale < 1.0 else ""
    return f"{kind}, shown as H.264{scaled}"
