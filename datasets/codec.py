"""`waldo.video`: the zarr codec of an array of frames, uint8 (T, H, W, 3). A chunk is one closed group of pictures.

The bytes of a chunk are H.264 samples as an MP4 holds them (each NAL unit behind its length), so that a shard of such
chunks can be an MP4 at the same time (mp4shard.py). zarr finds this class through its entry point.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.common import parse_named_configuration
from zarr.registry import register_codec

from waldo.datasets import video

NAME = "waldo.video"
"""The codec's name in an array's metadata."""


@dataclass(frozen=True)
class VideoCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Frames <-> H.264; reading single frames decodes no more of a group than it must."""

    is_fixed_size = False
    crf: int = 20
    """x264's constant rate factor."""
    preset: str = video.PRESET
    """x264's preset; only the store's own can be written."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VideoCodec:
        """Return the codec that an array's metadata names."""
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        known = configuration or {}
        return cls(crf=cast("int", known.get("crf", 20)), preset=str(known.get("preset", video.PRESET)))

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as it stands in an array's metadata."""
        return {"name": NAME, "configuration": {"codec": "h264", "crf": self.crf, "preset": self.preset}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are not frames."""
        if dtype.to_native_dtype() != np.dtype("u1") or len(shape) != 4 or shape[-1] != 3:
            raise ValueError(f"{NAME} holds uint8 arrays of shape (T, H, W, 3), not {dtype} {shape}")

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Refuse: the size depends on the pictures."""
        raise NotImplementedError

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        frames = chunk_data.as_numpy_array()
        packets = video.encode_frames(frames, gop=len(frames), crf=self.crf, rate=Fraction(30))
        return chunk_spec.prototype.buffer.from_bytes(b"".join(video.to_sample(p.data) for p in packets))

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        packets = video.split_samples(memoryview(chunk_data.as_numpy_array()))
        frames = video.decode(packets, range(chunk_spec.shape[0]), chunk_spec.shape[1:3])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(frames)

    def _decode_selection(self, chunk_data: Any, selection: Any, chunk_spec: Any) -> Any:
        """Decode the frames that a selection needs, then apply the selection to them."""
        first, *rest = selection if isinstance(selection, tuple) else (selection,)
        wanted = np.unique(np.arange(chunk_spec.shape[0])[first])
        packets = video.split_samples(memoryview(chunk_data.as_numpy_array()))
        some = video.decode(packets, wanted.tolist(), chunk_spec.shape[1:3])
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


def _shifted(first: Any, wanted: NDArray[np.int64], length: int) -> Any:
    """Return the selection along time in terms of the decoded frames `wanted` instead of all `length`."""
    if isinstance(first, slice):
        return np.searchsorted(wanted, np.arange(length)[first])
    index = np.asarray(first)
    return np.searchsorted(wanted, np.flatnonzero(index) if index.dtype == np.bool_ else index)


register_codec(NAME, VideoCodec)
