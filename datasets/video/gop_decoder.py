"""The pictures of one group, as the decoder holds them: the inner loop of reading for training.

A chunk of the archive goes to FFmpeg's H.264 decoder as it lies in the MP4 (samples behind their length), without a
container, and only up to the last picture that is wanted. What comes out stays in the decoder's own planes, half the
bytes of RGB, until somebody asks for the colours.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import av
import cv2
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from waldo.datasets.video.h264 import NAL_IDR, NAL_SLICE

AVCC = bytes([1, 66, 192, 30, 0xFF, 0xE0, 0])
"""avcC without parameter sets (ISO/IEC 14496-15, 5.3.3.1): lengths are four bytes, SPS and PPS are in the chunk."""

BEFORE_PICTURE = (6, 7, 8, 9)
"""NAL units that can only stand before a picture's first slice: SEI, SPS, PPS, delimiter."""

JPEG = b"\xff\xd8"
"""How a chunk begins that is one JPEG; a NAL unit of such a length does not exist."""

type Picture = Any
"""One decoded picture: an av.VideoFrame, or of a JPEG its colours, uint8 (H, W, 3)."""


def samples(chunk: bytes | memoryview) -> list[memoryview]:
    """Cut a chunk into the MP4 samples of its pictures, without copying. Raises ValueError for a cut NAL unit."""
    view = memoryview(chunk).cast("B")
    found: list[memoryview] = []
    start = at = 0
    complete = False
    while at < len(view):
        size = int.from_bytes(view[at : at + 4], "big")
        if not size or at + 4 + size > len(view):
            raise ValueError(f"a NAL unit of {size} bytes at byte {at} of a chunk of {len(view)} bytes")
        kind = view[at + 4] & 31
        slice_ = kind in (NAL_SLICE, NAL_IDR)
        # first_mb_in_slice == 0 is written as a single 1 bit: the first slice of the next picture.
        if complete and (kind in BEFORE_PICTURE or (slice_ and size > 1 and view[at + 5] & 0x80)):
            found.append(view[start:at])
            start, complete = at, False
        complete = complete or slice_
        at += 4 + size
    if complete:
        found.append(view[start:at])
    return found


class _Decoders(threading.local):
    """One decoder a thread: opening one costs as much as decoding a few pictures."""

    context: Any = None


_decoders = _Decoders()


def pictures(chunk: bytes | memoryview, count: int) -> list[Picture]:
    """Return the first `count` pictures of a group; fewer where the chunk holds fewer.

    Raises ValueError where the chunk is damaged.
    """
    if bytes(chunk[:2]) == JPEG:
        return [_jpeg(chunk)]
    wanted = samples(chunk)[:count]
    context = _decoders.context
    if context is None:
        context = av.CodecContext.create("h264", "r")
        context.extradata = AVCC
        context.thread_count = 1
        # Without B-frames every picture comes out at once.
        context.flags |= Flags.low_delay
        _decoders.context = context
    context.flush_buffers()
    try:
        found = [picture for sample in wanted for picture in context.decode(av.Packet(cast("bytes", sample)))]
        if len(found) < len(wanted):
            _decoders.context = None  # a drained decoder takes no more packets
            found += context.decode(None)
    except av.FFmpegError as error:
        _decoders.context = None
        raise ValueError(f"the decoder refuses it ({error})") from error
    if len(found) != len(wanted):
        raise ValueError(f"{len(found)} of {len(wanted)} pictures could be decoded")
    return found


def _jpeg(chunk: bytes | memoryview) -> NDArray[np.uint8]:
    """Return the colours of a JPEG."""
    found = cv2.imdecode(np.frombuffer(chunk, np.uint8), cv2.IMREAD_COLOR_RGB)
    if found is None:  # pyright: ignore[reportUnnecessaryComparison] (OpenCV's stubs leave it out)
        raise ValueError("the JPEG cannot be decoded")
    return np.asarray(found, np.uint8)


def to_rgb(picture: Picture) -> NDArray[np.uint8]:
    """Return a picture's colours, uint8 (H, W, 3)."""
    if isinstance(picture, np.ndarray):
        return picture
    if picture.format.name == "yuv420p":
        return np.asarray(cv2.cvtColor(picture.to_ndarray(), cv2.COLOR_YUV2RGB_I420), np.uint8)
    return picture.to_ndarray(format="rgb24")


def nbytes(picture: Picture) -> int:
    """Return about how much memory a picture holds."""
    return picture.nbytes if isinstance(picture, np.ndarray) else sum(p.buffer_size for p in picture.planes)


def write_planes(rgb: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write colours, uint8 (H, W, 3), as planes into `out`, uint8 (3, h, w); another size is averaged over areas."""
    size = out.shape[2], out.shape[1]
    if (rgb.shape[1], rgb.shape[0]) != size:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.split(rgb, [out[0], out[1], out[2]])
