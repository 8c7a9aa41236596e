"""One chunk of an image stream, for every codec: bytes to frames.

JPEG and depth chunks contain one frame, H.264 chunks one closed group of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.streams import DepthStream, ImageStream
from waldo.datasets.video import decoder, images


def pixel_dtype(stream: ImageStream) -> np.dtype[Any]:
    """Return the dtype of a stream's pixels."""
    return np.dtype("<u2") if isinstance(stream, DepthStream) else np.dtype("u1")


def decode_chunk(stream: ImageStream, chunk: bytes | memoryview, indices: Sequence[int]) -> NDArray[Any]:
    """Decode single frames of a chunk, uint8 (n, H, W, 3) or uint16 (n, H, W).

    Args:
        stream: The stream that the chunk belongs to.
        chunk: The encoded chunk.
        indices: Frame indices in the chunk, in increasing order; frames beyond its end are black.

    Raises:
        ValueError: If the chunk cannot be decoded.
    """
    if isinstance(stream, DepthStream):
        frame: NDArray[Any] = images.decode_depth(chunk, stream.frame_shape)
    elif stream.codec == "jpeg":
        frame = images.decode_jpeg(chunk, stream.frame_shape)
    else:
        return decoder.decode(chunk, indices, (stream.height, stream.width))
    out = np.zeros((len(indices), *stream.frame_shape), frame.dtype)
    out[[index == 0 for index in indices]] = frame
    return out
