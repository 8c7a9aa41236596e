"""H.264 in closed groups of pictures: the encoder of one camera, and the decoding of single frames.

Without B-frames and on one thread: a packet a frame at once, and from libx264 the same bytes for the same frames.
Parameter sets stand before every key frame.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from waldo.datasets.video.encoders import LOSSLESS, SOFTWARE, options_of

RATE = Fraction(30)
"""The rate that a run of pictures claims where nobody knows better [Hz]."""

START_CODE = b"\0\0\0\1"

NAL_SLICE, NAL_IDR, NAL_SEI, NAL_SPS, NAL_PPS = 1, 5, 6, 7, 8

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded picture."""

    data: bytes
    """Annex B: NAL units behind start codes."""
    key: bool
    """True if it decodes on its own."""


class Encoder:
    """The encoder of one camera: frames in, packets out in the same order, a key frame every `gop` frames."""

    def __init__(
        self, *, width: int, height: int, gop: int, crf: int, rate: Fraction = RATE, encoder: str = SOFTWARE
    ) -> None:
        """Take the size [px], the frames a group, the quality, the rate [Hz] that the stream claims, and what encodes.

        `encoder` is a name of encoders.py; LOSSLESS keeps RGB as it is.
        """
        context: Any = av.CodecContext.create(encoder, "w")
        self._lossless = encoder == LOSSLESS
        context.width, context.height = width, height
        context.pix_fmt = "rgb24" if self._lossless else "yuv420p"
        context.framerate, context.time_base = rate, 1 / rate
        context.gop_size, context.thread_count = gop, 1
        context.options = dict(options_of(encoder, gop=gop, crf=crf))
        self._context, self._gop = context, gop
        self._count = 0

    def encode(self, rgb: Image) -> list[Packet]:
        """Encode one frame, uint8 (H, W, 3); the packet of this frame comes back at once."""
        if self._lossless:
            frame: Any = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        else:
            # I420 planes one under another: what PyAV calls a yuv420p array. OpenCV's is BT.601, video range.
            planes: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = self._count
        if self._count % self._gop == 0:
            frame.pict_type = PictureType.I
        self._count += 1
        return [Packet(bytes(p), p.is_keyframe) for p in self._context.encode(frame)]

    def flush(self) -> list[Packet]:
        """Return what the encoder still holds; nothing can be encoded after."""
        return [Packet(bytes(p), p.is_keyframe) for p in self._context.encode(None)]


def encode_frames(
    frames: Sequence[Image] | Image, *, gop: int, crf: int, rate: Fraction = RATE, encoder: str = SOFTWARE
) -> list[Packet]:
    """Encode frames, each uint8 (H, W, 3), as one run that starts with a key frame."""
    height, width, _ = frames[0].shape
    coder = Encoder(width=width, height=height, gop=gop, crf=crf, rate=rate, encoder=encoder)
    packets = [packet for frame in frames for packet in coder.encode(np.ascontiguousarray(frame))]
    return packets + coder.flush()


def nal_units(annex_b: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B packet, without their start codes."""
    at = annex_b.find(b"\0\0\1")
    while at >= 0:
        end = annex_b.find(b"\0\0\1", at + 3)
        unit = annex_b[at + 3 : end if end >= 0 else len(annex_b)]
        # A four-byte start code's first zero, and any trailing zeros, belong to no unit (H.264 annex B).
        yield unit.rstrip(b"\0")
        at = end


def to_sample(annex_b: bytes) -> bytes:
    """Return a packet as an MP4 sample: each NAL unit behind its length (u32, big endian)."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(annex_b))


def parameter_sets(annex_b: bytes) -> bytes:
    """Return the SPS and PPS of a key frame, Annex B: equal bytes mean that runs may stand in one file."""
    return b"".join(START_CODE + unit for unit in nal_units(annex_b) if unit[0] & 31 in (NAL_SPS, NAL_PPS))


def split_samples(chunk: bytes | memoryview) -> list[Packet]:
    """Split MP4 samples that lie one after another (one or more groups of pictures) into packets."""
    view = memoryview(chunk).cast("B")
    packets: list[Packet] = []
    parts: list[bytes] = []
    key = complete = False
    at = 0
    while at + 4 <= len(view):
        size = int.from_bytes(view[at : at + 4], "big")
        unit = bytes(view[at + 4 : at + 4 + size])
        if not unit or len(unit) != size:
            raise ValueError(f"a NAL unit of {size} bytes at byte {at} of a chunk of {len(view)} bytes")
        at += 4 + size
        kind = unit[0] & 31
        # first_mb_in_slice == 0 is written as a single 1 bit: the first slice of the next picture.
        begins = kind in (NAL_SLICE, NAL_IDR) and len(unit) > 1 and bool(unit[1] & 0x80)
        if complete and (begins or kind in (NAL_SEI, NAL_SPS, NAL_PPS, 9)):
            packets.append(Packet(b"".join(parts), key))
            parts, key, complete = [], False, False
        parts += [START_CODE, unit]
        if kind in (NAL_SLICE, NAL_IDR):
            complete = True
            key = key or kind == NAL_IDR
    if complete:
        packets.append(Packet(b"".join(parts), key))
    return packets


class _Decoders(threading.local):
    """One decoder a thread: opening one costs as much as decoding a few frames."""

    context: Any = None


_decoders = _Decoders()


def decode(packets: Sequence[Packet], wanted: Sequence[int], shape: tuple[int, int]) -> Image:
    """Return the wanted frames (increasing indices) of one group of pictures, uint8 (n, H, W, 3).

    Frames past the end of the group are black: zarr asks for them when it reads a last chunk that is not full.
    """
    out = np.zeros((len(wanted), *shape, 3), np.uint8)
    slots = {index: slot for slot, index in enumerate(wanted) if index < len(packets)}
    if not slots:
        return out
    try:
        for index, frame in enumerate(_decode_up_to(packets, max(slots))):
            if index in slots:
                _to_rgb(frame, out[slots[index]])
    except av.FFmpegError as error:
        _decoders.context = None
        raise ValueError(f"the decoder refuses it: {error}") from error
    return out


def _decode_up_to(packets: Sequence[Packet], last: int) -> Iterator[Any]:
    """Yield the decoded frames 0 to `last`."""
    context = _decoders.context
    if context is None:
        context = av.CodecContext.create("h264", "r")
        context.thread_count = 1
        _decoders.context = context
    context.flush_buffers()
    done = 0
    for packet in packets[: last + 1]:
        for frame in context.decode(av.Packet(packet.data)):
            yield frame
            done += 1
    if done <= last:
        _decoders.context = None  # a drained decoder takes no more packets
        yield from context.decode(None)


def _to_rgb(frame: Any, out: Image) -> None:
    """Convert a decoded frame into `out`, uint8 (H, W, 3)."""
    if frame.format.name == "yuv420p":
        cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420, dst=out)
    else:
        out[...] = frame.to_ndarray(format="rgb24")
