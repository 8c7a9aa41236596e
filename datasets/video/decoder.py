"""The decoder of one chunk of a color stream: a closed group of pictures in H.264, or one JPEG.

This is the inner loop of reading for training. A chunk is passed to FFmpeg's H.264 decoder as it is stored (MP4
samples, without a container) and only up to the last frame that is needed. Decoded frames stay in the decoder's own
planes, half the size of RGB, until they are converted.

This module is part of the distribution waldo-zarr, which reads frames without waldo.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from .h264 import samples
from .pixels import decode_jpeg, i420_to_rgb

AVCC = bytes([1, 66, 192, 30, 0xFF, 0xE0, 0])
"""avcC without parameter sets (ISO/IEC 14496-15, 5.3.3.1): lengths take four bytes, SPS and PPS are in the chunk."""

JPEG = b"\xff\xd8"
"""First bytes of a chunk that is a JPEG; no NAL unit is that long."""

type Frame = Any
"""A decoded frame: an av.VideoFrame, or the RGB image of a JPEG, uint8 (H, W, 3)."""


class _Decoders(threading.local):
    """One decoder per thread: opening one costs as much as decoding a few frames."""

    context: Any = None


_decoders = _Decoders()


def decode_frames(chunk: bytes | memoryview, count: int) -> list[Frame]:
    """Decode the first `count` frames of a chunk; fewer are returned if the chunk contains fewer.

    Raises:
        ValueError: If the chunk is damaged.
    """
    if bytes(chunk[:2]) == JPEG:
        return [decode_jpeg(chunk)]
    encoded = samples(chunk)[:count]
    context = _decoder()
    try:
        frames = [frame for sample in encoded for frame in context.decode(av.Packet(cast("bytes", sample)))]
        if len(frames) < len(encoded):
            _decoders.context = None  # a drained decoder accepts no more packets
            frames += context.decode(None)
    except av.FFmpegError as error:
        _decoders.context = None
        raise ValueError(f"rejected by the decoder: {error}") from error
    if len(frames) != len(encoded):
        raise ValueError(f"{len(frames)} of {len(encoded)} frames could be decoded")
    return frames


def decode(chunk: bytes | memoryview, indices: Sequence[int], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode single frames of a chunk into RGB, uint8 (n, H, W, 3).

    Args:
        chunk: A closed group of pictures, or a JPEG.
        indices: Frame indices in the chunk, in increasing order. Frames beyond the end of the chunk are black, since
            zarr requests them for a last chunk that is not full.
        shape: Height and width [px].

    Raises:
        ValueError: If the chunk is damaged or its frames have another size.
    """
    out = np.zeros((len(indices), *shape, 3), np.uint8)
    frames = decode_frames(chunk, max(indices, default=-1) + 1)
    for slot, index in enumerate(indices):
        if index < len(frames):
            to_rgb(frames[index], out[slot])
    return out


def to_rgb(frame: Frame, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return a frame as an RGB image, uint8 (H, W, 3), written to `out` if given.

    Raises:
        ValueError: If `out` has another size.
    """
    if isinstance(frame, np.ndarray):
        rgb = frame
    elif frame.format.name == "yuv420p":
        if out is not None and out.shape == (frame.height, frame.width, 3):
            return i420_to_rgb(frame.to_ndarray(), out)
        rgb = i420_to_rgb(frame.to_ndarray())
    else:
        rgb = frame.to_ndarray(format="rgb24")
    if out is None:
        return rgb
    if rgb.shape != out.shape:
        raise ValueError(f"a frame of {rgb.shape[1]}x{rgb.shape[0]}, expected {out.shape[1]}x{out.shape[0]}")
    out[...] = rgb
    return out


def nbytes(frame: Frame) -> int:
    """Return approximately how much memory a frame occupies."""
    return frame.nbytes if isinstance(frame, np.ndarray) else sum(plane.buffer_size for plane in frame.planes)


def _decoder() -> Any:
    """Return this thread's decoder, ready for a new group of pictures."""
    context: Any = _decoders.context
    if context is None:
        context = av.CodecContext.create("h264", "r")
        context.extradata = AVCC
        context.thread_count = 1
        # Without B-frames each frame is output at once.
        context.flags |= Flags.low_delay
        _decoders.context = context
    context.flush_buffers()
    return context
