"""zarr codecs for arrays of frames, uint8 (T, H, W, 3): `waldo.video` and `waldo.jpeg`.

A chunk of `waldo.video` is one closed group of pictures, stored as MP4 samples (each NAL unit after its length). A
shard of such chunks can therefore be an MP4 file as well (mp4shard.py). A chunk of `waldo.jpeg` is one JPEG. zarr finds
the codecs through their entry points.

This module is part of the distribution waldo-zarr too, which reads frames without waldo; hence its relative imports.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.common import parse_named_configuration
from zarr.core.config import config
from zarr.registry import register_codec

from . import decoder, h264, pixels
from .h264 import CODEC_NAME, CRF
from .pixels import JPEG_CODEC_NAME

READ_ONLY = "this package only reads frames; install waldo to write them"


@dataclass(frozen=True)
class VideoCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Frames <-> H.264. Reading single frames decodes a group of pictures only up to the last one requested."""

    is_fixed_size = False
    codec: str = "h264"
    """`h264` (4:2:0), or `lossless` (H.264 of RGB)."""
    crf: int = CRF
    """x264 constant rate factor; unused by `lossless`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VideoCodec:
        """Return the codec described by array metadata."""
        _, configuration = parse_named_configuration(data, CODEC_NAME, require_configuration=False)
        known = configuration or {}
        return cls(codec=str(known.get("codec", "h264")), crf=cast("int", known.get("crf", CRF)))

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as array metadata."""
        return {"name": CODEC_NAME, "configuration": {"codec": self.codec, "crf": self.crf}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise ValueError unless the array contains frames."""
        _check_frames(CODEC_NAME, shape, dtype)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Raise NotImplementedError, since the size depends on the image content."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        try:
            from .encoder import LOSSLESS, SOFTWARE, encode_frames
        except ModuleNotFoundError as error:
            raise NotImplementedError(READ_ONLY) from error
        frames = chunk_data.as_numpy_array()
        encoder = LOSSLESS if self.codec == "lossless" else SOFTWARE
        packets = encode_frames(frames, gop=len(frames), crf=self.crf, encoder=encoder)
        return chunk_spec.prototype.buffer.from_bytes(b"".join(h264.to_sample(p.data) for p in packets))

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        chunk = memoryview(chunk_data.as_numpy_array())
        frames = decoder.decode(chunk, range(chunk_spec.shape[0]), chunk_spec.shape[1:3])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frames)

    def _decode_selection(self, chunk_data: Any, selection: Any, chunk_spec: Any) -> Any:
        """Decode the frames of a selection, then apply the selection to them."""
        first, *rest = selection if isinstance(selection, tuple) else (selection,)
        indices = np.unique(np.arange(chunk_spec.shape[0])[first])
        chunk = memoryview(chunk_data.as_numpy_array())
        frames = decoder.decode(chunk, indices.tolist(), chunk_spec.shape[1:3])
        out = frames[(_shifted(first, indices, chunk_spec.shape[0]), *rest)]
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
    """One frame <-> one JPEG, as published by the camera."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JpegCodec:
        """Return the codec described by array metadata."""
        parse_named_configuration(data, JPEG_CODEC_NAME, require_configuration=False)
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as array metadata."""
        return {"name": JPEG_CODEC_NAME, "configuration": {}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise ValueError unless the array contains frames."""
        _check_frames(JPEG_CODEC_NAME, shape, dtype)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Raise NotImplementedError, since the size depends on the image content."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        try:
            from . import images
        except ImportError as error:
            raise NotImplementedError(READ_ONLY) from error
        (frame,) = chunk_data.as_numpy_array()
        return chunk_spec.prototype.buffer.from_bytes(images.encode_jpeg(frame))

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        frame = pixels.decode_jpeg(memoryview(chunk_data.as_numpy_array()), chunk_spec.shape[1:])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frame[None])

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)


def _check_frames(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise ValueError unless the array contains frames."""
    if dtype.to_native_dtype() != np.dtype("u1") or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(f"{name} encodes uint8 arrays of shape (T, H, W, 3), not {dtype} {shape}")


def _shifted(first: Any, decoded: NDArray[np.int64], length: int) -> Any:
    """Return a selection along time that refers to the decoded frames instead of all `length` frames."""
    if isinstance(first, slice):
        return np.searchsorted(decoded, np.arange(length)[first])
    index = np.asarray(first)
    return np.searchsorted(decoded, np.flatnonzero(index) if index.dtype == np.bool_ else index)


for _name, _codec in ((CODEC_NAME, VideoCodec), (JPEG_CODEC_NAME, JpegCodec)):
    register_codec(_name, _codec)
    # waldo and waldo-zarr may both be installed; zarr would warn about the choice.
    config.update({"codecs": {_name: f"{_codec.__module__}.{_codec.__qualname__}"}})
