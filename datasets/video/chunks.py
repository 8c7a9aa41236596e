"""One chunk of an image stream, for every codec: bytes to frames.

JPEG and depth chunks contain one frame, H.264 chunks one closed group of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.storage.array_file import LITTLE_ENDIAN
from waldo.datasets.streams import DepthStream, ImageStream
from waldo.datasets.video import decoder, images
from waldo.datasets.video.h264 import CODEC_NAME
from waldo.datasets.video.pixels import JPEG_CODEC_NAME


def pixel_dtype(stream: ImageStream) -> np.dtype[Any]:
    """Return the dtype of a stream's pixels."""
    return np.dtype("<u2") if isinstance(stream, DepthStream) else np.dtype("u1")


def codec_metadata(stream: ImageStream) -> list[dict[str, Any]]:
    """Return the codecs of a stream's chunks as zarr names them in the metadata of an array."""
    if isinstance(stream, DepthStream):
        blosc = {"typesize": 2, "cname": "zstd", "clevel": images.DEPTH_LEVEL, "shuffle": "bitshuffle", "blocksize": 0}
        return [LITTLE_ENDIAN, {"name": "blosc", "configuration": blosc}]
    if stream.codec == "jpeg":
        return [{"name": JPEG_CODEC_NAME, "configuration": {}}]
    return [{"name": CODEC_NAME, "configuration": {"codec": stream.codec, "crf": stream.crf}}]


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
