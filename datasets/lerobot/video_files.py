"""The MP4 files of one camera in a LeRobot dataset, each with the clips of many episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from waldo.datasets.lerobot.clips import Clip
from waldo.datasets.video import mp4
from waldo.datasets.video.mp4 import Track


@dataclass(slots=True)
class VideoFiles:
    """Distribute clips over files; a new file is started when one would grow too large, and the full one is written.

    Only the clips of the current file are kept in memory.
    """

    name_file: Callable[[int], Path]
    """Returns the path of the file with a number, counted from 0."""
    rate: Fraction
    """Frames per second."""
    max_bytes: float
    """Size at which a new file is started."""
    copied: int = 0
    """Number of frames with copied packets so far."""
    encoded: int = 0
    """Number of frames that were encoded again so far."""
    _number: int = 0
    _clips: list[Clip] = field(default_factory=list)
    _nbytes: int = 0
    _frames: int = 0

    def add(self, clip: Clip) -> tuple[int, int]:
        """Append a clip; return the number of its file and the clip's first frame in that file."""
        full = self._nbytes + clip.nbytes > self.max_bytes
        if self._clips and (full or self._clips[0].track.entry != clip.track.entry):
            self.write()
            self._number += 1
        first = self._frames
        self._clips.append(clip)
        self._nbytes += clip.nbytes
        self._frames += clip.rows
        self.copied += clip.copied
        self.encoded += clip.encoded
        return self._number, first

    def write(self) -> None:
        """Write the current file; one that exists was completed by an interrupted export."""
        path = self.name_file(self._number)
        if self._clips and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            sizes = np.concatenate([clip.track.sizes for clip in self._clips])
            keys = np.concatenate([clip.track.keys for clip in self._clips])
            pieces = [piece for clip in self._clips for piece in clip.pieces]
            mp4.write(path, Track(self._clips[0].track.entry, sizes, keys, 0), self.rate, pieces)
        self._clips, self._nbytes, self._frames = [], 0, 0
