"""Print each episode of a dataset: length, losses, and the maximum joint speed.

Usage: python examples/read_dataset.py my-data
"""

from __future__ import annotations

import sys

import numpy as np

from waldo import Dataset


def main(path: str) -> None:
    """Print one line per episode."""
    for episode in Dataset.open(path).episodes:
        time_s = (episode.time_ns("joints/state") - episode.time_ns("joints/state")[0]) / 1e9
        position = episode.values("joints/state", "position")  # (T, joints) [rad]
        speed = np.abs(np.gradient(position, time_s, axis=0)).max()
        lost = sum(episode.lost(name) for name in episode.streams)
        print(
            f"{episode.index}: {episode.task!r}, {episode.outcome}, {time_s[-1]:.1f} s, {lost} lost, {speed:.2f} rad/s"
        )


if __name__ == "__main__":
    main(sys.argv[1])
