"""Episode videos that every browser plays: H.264 in MP4, yuv420p, the index at the front."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class VideoWriter:
    """Writes frames (height, width, 3) uint8 as they come; width and height must be even."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        """Take the file to write, the picture's size (width, height) and the frames a second."""
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._av: Any = av
        self._container: Any = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(fps))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        # One thread: the file's bytes then do not depend on the machine's cores.
        self._stream.options = {"crf": "23", "preset": "veryfast", "threads": "1"}

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """Append one frame."""
        frame = self._av.VideoFrame.from_ndarray(rgb, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
