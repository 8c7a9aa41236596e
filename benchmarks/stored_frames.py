"""The frames that a sink stored, read back in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from workload import Image

from waldo.datasets.dataset import Dataset
from waldo.datasets.schema import feature_key


def stored(system: str, root: Path, camera: str) -> Iterator[Image]:
    """Yield the frames that a sink stored of a camera in its first episode, in order."""
    name = system.partition(":")[0]
    if name == "waldo":
        episode = Dataset.open(root).episodes[0]
        for first in range(0, episode.count(camera), 50):
            yield from episode.frames(camera, range(first, min(first + 50, episode.count(camera))))
    elif name.startswith("lerobot"):
        yield from _video(next((root / "videos" / feature_key(camera)).rglob("*.mp4")))
    elif name == "mcap":
        from mcap.reader import make_reader
        from rosbags.typesys import Stores, get_typestore

        types = get_typestore(Stores.ROS2_JAZZY)
        with (root / "episode_0.mcap").open("rb") as file:
            for _, _, message in make_reader(file).iter_messages(topics=[camera]):
                image: Any = types.deserialize_cdr(message.data, "sensor_msgs/msg/CompressedImage")
                yield decode_jpeg(image.data)
    elif name.startswith("hdf5"):
        import h5py

        with h5py.File(root / "episode_0.h5", "r") as file:
            images: Any = file[f"{camera}/image"]
            for number in range(len(images)):
                yield images[number] if name == "hdf5-raw" else decode_jpeg(images[number])


def _video(path: Path) -> Iterator[Image]:
    """Yield the frames of a video file."""
    import av

    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def decode_jpeg(data: Image) -> Image:
    """Return a JPEG as an RGB image."""
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
