"""Read batches for training directly from a dataset: two frames and the next four actions per sample.

Usage: python examples/training_batches.py my-data
"""

from __future__ import annotations

import sys

from waldo import Dataset, RowConfig, WindowConfig, Windows


def main(path: str) -> None:
    """Print the shapes of one batch."""
    dataset = Dataset.open(path)
    cameras = tuple(dataset.episodes[0].cameras)
    config = WindowConfig(
        rows=RowConfig(fps=30, cameras=cameras),
        deltas={
            "observation.state": [0.0],
            "action": [k / 30 for k in range(4)],
            **{f"observation.images.{name.removeprefix('cameras/')}": [-1 / 30, 0.0] for name in cameras},
        },
    )
    windows = Windows(dataset, config)
    for key, values in windows.batch([0, len(windows) // 2, len(windows) - 1]).items():
        print(key, getattr(values, "shape", values))


if __name__ == "__main__":
    main(sys.argv[1])
