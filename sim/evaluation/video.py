"""Episode videos that every browser plays: H.264 in MP4, yuv420p, with the index at the start of the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.sim.world import World

VIDEO_FPS = 30
"""Frame rate of a video [fps]."""
TAIL_S = 0.5
"""Time for which a video continues after success [s]."""


class VideoWriter:
    """Writes frames (height, width, 3) uint8 one by one; width and height must be even."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        """Open the file for frames of `size` (width, height) [px]."""
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._av: Any = av
        self._container: Any = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(fps))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        # With one thread the bytes of the file do not depend on the number of cores.
        self._stream.options = {"crf": "23", "preset": "veryfast", "threads": "1"}

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Append one frame."""
        frame = self._av.VideoFrame.from_ndarray(rgb, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


class EpisodeVideos:
    """Videos of the first worlds of a batch, one file `seed-<seed>.mp4` each."""

    def __init__(self, world: World, seeds: list[int], folder: Path, size: tuple[int, int]) -> None:
        """Open one file for each seed; world i is filmed with the task's first camera."""
        self._world, self._size = world, size
        self._camera = world.task.cameras[0]
        self._tail = [round(TAIL_S * VIDEO_FPS)] * len(seeds)
        self._writers = [VideoWriter(folder / f"seed-{seed}.mp4", size, VIDEO_FPS) for seed in seeds]
        self.files = {seed: writer.path.name for seed, writer in zip(seeds, self._writers, strict=True)}
        """Seed -> file name."""

    def add_frames(self, finished: NDArray[np.bool_]) -> None:
        """Append one frame to each video, until the tail of a finished episode is over."""
        for world, writer in enumerate(self._writers):
            if self._tail[world] > 0:
                writer.add(self._world.render(world, self._camera, self._size))
                self._tail[world] -= int(finished[world])

    @property
    def recording(self) -> bool:
        """Whether any video still needs frames."""
        return any(tail > 0 for tail in self._tail)

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers:
            writer.close()
