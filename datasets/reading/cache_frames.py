"""The frames of an episode as a frame cache stores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.video import decoder, images
from waldo.errors import FileError


def cache_frames(episode: Episode, camera: str, shape: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield a camera's frames as planes, uint8 (3, H, W).

    Args:
        episode: The episode.
        camera: Camera stream.
        shape: Number of frames, 3, height and width.

    Yields:
        The same buffer for every frame; copy it to keep a frame.
    """
    if not shape[0]:
        return
    shard = episode.shard(camera)
    out = np.empty(tuple(shape[1:]), np.uint8)
    for group in range(-(-shape[0] // shard.gop)):
        try:
            found = decoder.decode_frames(shard.chunk(group), shard.gop)
        except ValueError as error:
            text = f"chunk {group} cannot be decoded ({error})"
            raise FileError(f"{episode.path}/{camera}", text, "run waldo check") from error
        for image in found[: shape[0] - group * shard.gop]:
            images.write_planes(decoder.to_rgb(image), out)
            yield out
