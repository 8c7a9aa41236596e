"""Record an episode from Python, without ROS, and read it back.

Usage: python examples/record_episode.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from waldo import Dataset, Field, ScalarStream, VideoStream

JOINTS = ("shoulder", "elbow")
STREAMS = (
    ScalarStream(name="joints/state", rate_hz=50.0, fields=(Field("position", "rad", JOINTS),)),
    ScalarStream(name="joints/command", rate_hz=50.0, fields=(Field("position", "rad", JOINTS),)),
    VideoStream(name="cameras/front", width=64, height=48, rate_hz=25.0),
)


def main() -> None:
    """Record one second of a swinging arm."""
    folder = Path(tempfile.mkdtemp()) / "dataset"
    dataset = Dataset.create(folder, robot="my-arm")
    with dataset.lock(), dataset.begin(STREAMS, {"task": "wave"}) as writer:
        for tick in range(50):
            now_ns = tick * 20_000_000
            stamps = {"header_ns": now_ns, "receipt_ns": now_ns, "sequence": tick + 1}
            angle = np.full(len(JOINTS), np.sin(tick / 10))
            writer.row("joints/state", values={"position": angle}, **stamps)
            writer.row("joints/command", values={"position": angle}, **stamps)
            if tick % 2 == 0:
                image = np.full((48, 64, 3), 5 * tick, np.uint8)
                frame = {"header_ns": now_ns, "receipt_ns": now_ns, "sequence": tick // 2 + 1}
                writer.frame("cameras/front", image=image, **frame)
            time.sleep(0.02)  # as fast as a robot would publish
        writer.save("success")
    episode = Dataset.open(folder).episodes[0]
    print(f"{episode.task}: {episode.count('joints/state')} states, {episode.count('cameras/front')} frames")


if __name__ == "__main__":
    main()
