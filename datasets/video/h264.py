"""The H.264 bitstream as far as waldo reads it: NAL units, Annex B packets and MP4 samples.

Syntax elements are those of ITU-T H.264, section 7.3.1 and Annex B. In an MP4 each NAL unit is preceded by its length
(u32, big endian) instead of a start code (ISO/IEC 14496-15, 5.3.3).

This module is part of the distribution waldo-zarr, which reads frames without waldo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CODEC_NAME = "waldo.video"
"""Name of the video codec in array metadata."""

CRF = 21
"""Default constant rate factor of h264: about the size and the quality of LeRobot's AV1."""

START_CODE = b"\0\0\0\1"

NAL_SLICE, NAL_IDR, NAL_SEI, NAL_SPS, NAL_PPS, NAL_DELIMITER = 1, 5, 6, 7, 8, 9

BEFORE_SLICES = (NAL_SEI, NAL_SPS, NAL_PPS, NAL_DELIMITER)
"""NAL units that occur only before the first slice of a frame."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded frame."""

    data: bytes
    """Annex B: NAL units, each after a start code."""
    key: bool
    """True if the frame can be decoded without any other."""


def nal_units(annex_b: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B packet, without their start codes."""
    at = annex_b.find(b"\0\0\1")
    while at >= 0:
        end = annex_b.find(b"\0\0\1", at + 3)
        unit = annex_b[at + 3 : end if end >= 0 else len(annex_b)]
        # The first zero of a four-byte start code and trailing zeros belong to no unit.
        yield unit.rstrip(b"\0")
        at = end


def to_sample(annex_b: bytes) -> bytes:
    """Return an Annex B packet as an MP4 sample."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(annex_b))


def parameter_sets(annex_b: bytes) -> bytes:
    """Return the SPS and PPS of a key frame, Annex B; packets with equal ones can share a file."""
    return b"".join(START_CODE + unit for unit in nal_units(annex_b) if unit[0] & 31 in (NAL_SPS, NAL_PPS))


def samples(chunk: bytes | memoryview) -> list[memoryview]:
    """Split a chunk of consecutive MP4 samples into one view per frame, without copying.

    Raises:
        ValueError: If a NAL unit extends beyond the chunk.
    """
    view = memoryview(chunk).cast("B")
    found: list[memoryview] = []
    start = at = 0
    complete = False
    while at < len(view):
        size = int.from_bytes(view[at : at + 4], "big")
        if not size or at + 4 + size > len(view):
            raise ValueError(f"a NAL unit of {size} bytes at byte {at} of a chunk of {len(view)} bytes")
        kind = view[at + 4] & 31
        is_slice = kind in (NAL_SLICE, NAL_IDR)
        # first_mb_in_slice == 0 is coded as a single 1 bit: the first slice of the next frame.
        if complete and (kind in BEFORE_SLICES or (is_slice and size > 1 and view[at + 5] & 0x80)):
            found.append(view[start:at])
            start, complete = at, False
        complete = complete or is_slice
        at += 4 + size
    if complete:
        found.append(view[start:at])
    return found


def split_samples(chunk: bytes | memoryview) -> list[Packet]:
    """Split a chunk of consecutive MP4 samples into Annex B packets.

    Raises:
        ValueError: If a NAL unit extends beyond the chunk.
    """
    return [_packet(sample) for sample in samples(chunk)]


def _packet(sample: memoryview) -> Packet:
    """Return a whole MP4 sample as an Annex B packet."""
    parts: list[bytes | memoryview] = []
    key = False
    at = 0
    while at < len(sample):
        size = int.from_bytes(sample[at : at + 4], "big")
        parts += [START_CODE, sample[at + 4 : at + 4 + size]]
        key = key or sample[at + 4] & 31 == NAL_IDR
        at += 4 + size
    return Packet(b"".join(parts), key)
