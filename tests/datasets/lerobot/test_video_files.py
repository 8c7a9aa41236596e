from fractions import Fraction

import numpy as np

from waldo.datasets.lerobot.clips import make_clip
from waldo.datasets.lerobot.video_files import VideoFiles
from waldo.datasets.video import mp4


def test_a_new_file_is_started_when_one_would_grow_too_large(episode, tmp_path):
    clip = make_clip(episode, "cameras/front", np.arange(30), Fraction(30), tmp_path / "spool.mp4")
    files = VideoFiles(lambda number: tmp_path / f"{number}.mp4", Fraction(30), 2.5 * clip.nbytes)
    assert [files.add(clip) for _ in range(5)] == [(0, 0), (0, 30), (1, 0), (1, 30), (2, 0)]
    assert [path.name for path in sorted(tmp_path.glob("*.mp4"))] == ["0.mp4", "1.mp4"]
    files.write()
    assert [len(mp4.read_track(tmp_path / f"{number}.mp4").sizes) for number in range(3)] == [60, 60, 30]
