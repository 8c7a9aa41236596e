"""The MP4 files of one camera in a LeRobot dataset, each with the clips of many episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from waldo.datasets.lerobot.clips import Clip
from waldo.datasets.video import mp4
from waldo.datasets.video.mp4 import Track


@dataclass(slots=True)
class VideoFiles:
    """Distribute clips over files; a new file is started when one would grow too large."""

    name_file: Callable[[int], Path]
    """Returns the path of the file with a number, counted from 0."""
    rate: Fraction
    """Frames per second."""
    max_bytes: float
    """Size at which a new file is started."""
    files: list[list[Clip]] = field(default_factory=list)
    """The clips of each file."""

    @property
    def clips(self) -> Sequence[Clip]:
        """The clips of all files, in their order."""
        return [clip for file in self.files for clip in file]

    def add(self, clip: Clip) -> tuple[int, int]:
        """Append a clip; return the number of its file and the clip's first frame in that file."""
        last = self.files[-1] if self.files else []
        full = sum(known.nbytes for known in last) + clip.nbytes > self.max_bytes
        if not last or full or last[0].track.entry != clip.track.entry:
            last = []
            self.files.append(last)
        last.append(clip)
        return len(self.files) - 1, sum(known.rows for known in last) - clip.rows

    def write(self) -> None:
        """Write all files; a file that exists was completed by an interrupted export."""
        for number, clips in enumerate(self.files):
            path = self.name_file(number)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write_file(path, clips)

    def _write_file(self, path: Path, clips: Sequence[Clip]) -> None:
        sizes = np.concatenate([clip.track.sizes for clip in clips])
        keys = np.concatenate([clip.track.keys for clip in clips])
        pieces = [piece for clip in clips for piece in clip.pieces]
        mp4.write(path, Track(clips[0].track.entry, sizes, keys, 0), self.rate, pieces)
