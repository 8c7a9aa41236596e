"""The zarr codecs of arrays of frames, uint8 (T, H, W, 3): `waldo.video` and `waldo.jpeg`.

A chunk of `waldo.video` is one closed group of pictures: H.264 samples as an MP4 holds them (each NAL unit behind its
length), so that a shard of such chunks can be an MP4 at the same time (mp4shard.py). A chunk of `waldo.jpeg` is a JPEG.
zarr finds these classes through their entry points.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.common import parse_named_configuration
from zarr.registry import register_codec

from waldo.datasets.streams import CRF
from waldo.datasets.video import h264, images
from waldo.datasets.video.encoders import LOSSLESS, SOFTWARE

NAME = "waldo.video"
"""The video codec's name in an array's metadata."""

JPEG_NAME = "waldo.jpeg"
"""The JPEG codec's name in an array's metadata."""


@dataclass(frozen=True)
class VideoCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Frames <-> H.264; reading single frames decodes no more of a group than it must."""

    is_fixed_size = False
    codec: str = "h264"
    """h264, or lossless: H.264 of exact RGB."""
    crf: int = CRF
    """x264's constant rate factor; lossless has none."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VideoCodec:
        """Return the codec that an array's metadata names."""
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        known = configuration or {}
        return cls(codec=str(known.get("codec", "h264")), crf=cast("int", known.get("crf", CRF)))

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as it stands in an array's metadata."""
        return {"name": NAME, "configuration": {"codec": self.codec, "crf": self.crf}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are not frames."""
        _need_frames(NAME, shape, dtype)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Refuse: the size depends on the pictures."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        frames = chunk_data.as_numpy_array()
        encoder = LOSSLESS if self.codec == "lossless" else SOFTWARE
        packets = h264.encode_frames(frames, gop=len(frames), crf=self.crf, encoder=encoder)
        return chunk_spec.prototype.buffer.from_bytes(b"".join(h264.to_sample(p.data) for p in packets))

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        packets = h264.split_samples(memoryview(chunk_data.as_numpy_array()))
        frames = h264.decode(packets, range(chunk_spec.shape[0]), chunk_spec.shape[1:3])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frames)

    def _decode_selection(self, chunk_data: Any, selection: Any, chunk_spec: Any) -> Any:
        """Decode the frames that a selection needs, then apply the selection to them."""
        first, *rest = selection if isinstance(selection, tuple) else (selection,)
        wanted = np.unique(np.arange(chunk_spec.shape[0])[first])
        packets = h264.split_samples(memoryview(chunk_data.as_numpy_array()))
        some = h264.decode(packets, wanted.tolist(), chunk_spec.shape[1:3])
        out = some[(_shifted(first, wanted, chunk_spec.shape[0]), *rest)]
        return chunk_spec.prototype.nd_buffer.from_numpy_array(out)

    def _decode_partial_sync(self, byte_getter: Any, selection: Any, chunk_spec: Any) -> Any:
        data = byte_getter.get_sync(prototype=chunk_spec.prototype)
        return None if data is None else self._decode_selection(data, selection, chunk_spec)

    async def _decode_partial_single(self, byte_getter: Any, selection: Any, chunk_spec: Any) -> Any:
        data = await byte_getter.get(prototype=chunk_spec.prototype)
        return None if data is None else await asyncio.to_thread(self._decode_selection, data, selection, chunk_spec)

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """One frame <-> one JPEG, as the camera sent it."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JpegCodec:
        """Return the codec that an array's metadata names."""
        parse_named_configuration(data, JPEG_NAME, require_configuration=False)
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as it stands in an array's metadata."""
        return {"name": JPEG_NAME, "configuration": {}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are not frames."""
        _need_frames(JPEG_NAME, shape, dtype)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Refuse: the size depends on the pictures."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        (frame,) = chunk_data.as_numpy_array()
        return chunk_spec.prototype.buffer.from_bytes(images.encode_jpeg(frame))

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        frame = images.decode_jpeg(memoryview(chunk_data.as_numpy_array()), chunk_spec.shape[1:])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frame[None])

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


def _need_frames(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse arrays that are not frames."""
    if dtype.to_native_dtype() != np.dtype("u1") or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(f"{name} holds uint8 arrays of shape (T, H, W, 3), not {dtype} {shape}")


def _shifted(first: Any, wanted: NDArray[np.int64], length: int) -> Any:
    """Return the selection along time in terms of the decoded frames `wanted` instead of all `length`."""
    if isinstance(first, slice):
        return np.searchsorted(wanted, np.arange(length)[first])
    index = np.asarray(first)
    return np.searchsorted(wanted, np.flatnonzero(index) if index.dtype == np.bool_ else index)


register_codec(NAME, VideoCodec)
register_codec(JPEG_NAME, JpegCodec)
