"""Descriptions of an episode's streams: rows of numbers, or color or depth images of a camera."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from waldo.datasets.video.h264 import CRF
from waldo.errors import InvalidValueError

NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
"""A stream's name: a path inside the episode's group."""

MAX_COMPONENT_LENGTH = 200
"""Characters per component of a name; file systems allow 255 bytes, and temporary names are longer."""

MAX_PIXELS = 16_384
"""Largest width and height of an image; H.264 has a maximum of 16,384."""

MAX_GOP = 1_000
"""Most frames in a group of pictures; all are decoded to read the last one."""

type Codec = Literal["h264", "lossless", "jpeg"]

CODECS: tuple[Codec, ...] = ("h264", "lossless", "jpeg")
"""Encodings of color frames."""


@dataclass(frozen=True, slots=True)
class Field:
    """One quantity of a scalar stream: values of shape (rows, labels)."""

    name: str
    """Name of the quantity, such as "position"."""
    unit: str
    """SI unit or °C; "1" for a ratio."""
    labels: tuple[str, ...]
    """Name of each column, such as the joint names."""
    dtype: Literal["float32", "float64"] = "float32"
    """Stored type. float32 resolves 2e-7 rad at 3 rad."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a name that zarr cannot use, an unknown dtype, or invalid labels."""
        if not is_name(self.name) or "/" in self.name:
            raise InvalidValueError("Field.name", self.name, "letters, digits and _ . -")
        if self.dtype not in ("float32", "float64"):
            raise InvalidValueError(f"Field {self.name}.dtype", self.dtype, "float32 or float64")
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise InvalidValueError(f"Field {self.name}.labels", self.labels, "one or more distinct names")
        object.__setattr__(self, "labels", tuple(self.labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarStream:
    """Rows of numbers at their native rate, such as `joints/state`."""

    name: str
    """Path of the stream's group in the episode."""
    rate_hz: float
    """Nominal publishing rate [Hz]."""
    fields: tuple[Field, ...]
    """Quantities of a row."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for an invalid name, rate or set of fields."""
        _check(self.name, self.rate_hz)
        object.__setattr__(self, "fields", tuple(self.fields))
        names = [field.name for field in self.fields]
        if not names or len(set(names)) != len(names):
            raise InvalidValueError(f"the fields of stream {self.name}", tuple(names), "one or more distinct names")

    @property
    def kind(self) -> Literal["scalar"]:
        """Kind of stream."""
        return "scalar"

    @property
    def summary(self) -> str:
        """Contents in a few words."""
        return ", ".join(f"{field.name}[{len(field.labels)}]" for field in self.fields)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """Layout of one row in the journal: consecutive fields, little endian, without padding."""
        return np.dtype([(f.name, np.dtype(f.dtype).newbyteorder("<"), (len(f.labels),)) for f in self.fields])

    def to_dict(self) -> dict[str, Any]:
        """Return the description as values that JSON can represent."""
        fields = [{"name": f.name, "unit": f.unit, "labels": list(f.labels), "dtype": f.dtype} for f in self.fields]
        return {"kind": self.kind, "name": self.name, "rate_hz": self.rate_hz, "fields": fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """Color frames of one camera, uint8 (T, H, W, 3), in closed groups of pictures."""

    name: str
    """Path of the stream's group in the episode, such as `cameras/front`."""
    width: int
    """Frame width [px]; even for h264."""
    height: int
    """Frame height [px]; even for h264."""
    rate_hz: float
    """Nominal frame rate [Hz]."""
    codec: Codec = "h264"
    """h264 (4:2:0, small), lossless (H.264 of RGB) or jpeg (single frames, as published by the camera)."""
    gop: int = 5
    """Frames per group of pictures: the most that are decoded to read one. Always 1 for jpeg."""
    crf: int = CRF
    """Constant rate factor of h264; lower values are better and larger."""
    encoder: str = "libx264"
    """Encoder of h264: libx264 or a hardware encoder; "auto" is resolved when an episode starts."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for values that the codec does not support."""
        _check(self.name, self.rate_hz)
        if self.codec not in CODECS:
            raise InvalidValueError(f"codec of stream {self.name}", self.codec, f"one of {', '.join(CODECS)}")
        _check_size(self)
        even = self.codec == "h264"
        for name, value in (("width", self.width), ("height", self.height)):
            if even and value % 2:
                raise InvalidValueError(f"{name} of stream {self.name}", value, "an even number of pixels, 16 or more")
        if not 1 <= self.gop <= MAX_GOP:
            raise InvalidValueError(f"gop of stream {self.name}", self.gop, f"1 to {MAX_GOP}")
        if not 0 <= self.crf <= 51:
            raise InvalidValueError(f"crf of stream {self.name}", self.crf, "0 to 51")
        if self.codec == "jpeg":
            object.__setattr__(self, "gop", 1)

    @property
    def kind(self) -> Literal["video"]:
        """Kind of stream."""
        return "video"

    @property
    def summary(self) -> str:
        """Contents in a few words."""
        return f"{self.width}x{self.height} {self.codec}"

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame: (H, W, 3)."""
        return (self.height, self.width, 3)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as values that JSON can represent."""
        return {"kind": self.kind, **{key: getattr(self, key) for key in self.__slots__}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthStream:
    """Depth images of one camera, uint16 (T, H, W), stored without loss; 0 means no measurement."""

    name: str
    """Path of the stream's group in the episode, such as `depth/front`."""
    width: int
    """Image width [px]."""
    height: int
    """Image height [px]."""
    rate_hz: float
    """Nominal image rate [Hz]."""
    unit_m: float = 0.001
    """Depth of one unit of a pixel's value [m]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for an invalid name, rate, size or unit."""
        _check(self.name, self.rate_hz)
        _check_size(self)
        if not (math.isfinite(self.unit_m) and self.unit_m > 0):
            raise InvalidValueError(f"unit_m of stream {self.name}", self.unit_m, "a length above 0")

    @property
    def kind(self) -> Literal["depth"]:
        """Kind of stream."""
        return "depth"

    @property
    def summary(self) -> str:
        """Contents in a few words."""
        return f"{self.width}x{self.height} depth"

    @property
    def gop(self) -> int:
        """Images per chunk: always 1."""
        return 1

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one image: (H, W)."""
        return (self.height, self.width)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as values that JSON can represent."""
        return {"kind": self.kind, **{key: getattr(self, key) for key in self.__slots__}}


type ImageStream = VideoStream | DepthStream
"""A stream of images."""

type Stream = ScalarStream | ImageStream


def stream_from_dict(data: Mapping[str, Any]) -> Stream:
    """Return the stream for the values of `to_dict`; other keys are ignored."""
    if data["kind"] == "video":
        return VideoStream(**{key: data[key] for key in VideoStream.__slots__})
    if data["kind"] == "depth":
        return DepthStream(**{key: data[key] for key in DepthStream.__slots__})
    fields = tuple(Field(f["name"], f["unit"], tuple(f["labels"]), f["dtype"]) for f in data["fields"])
    return ScalarStream(name=data["name"], rate_hz=data["rate_hz"], fields=fields)


def check_streams(streams: Sequence[Stream]) -> tuple[Stream, ...]:
    """Return the streams of an episode; raise InvalidValueError for names that cannot coexist in one zarr group."""
    names = [stream.name for stream in streams]
    if not names:
        raise InvalidValueError("streams", [], "at least one stream")
    if len(names) > 255:
        raise InvalidValueError("the number of streams", len(names), "at most 255")
    for name in names:
        if names.count(name) > 1:
            raise InvalidValueError("streams", name, "distinct names")
        inside = [other for other in names if other.startswith(name + "/")]
        if inside:
            raise InvalidValueError("stream name", name, f"a name that is not a folder of another stream ({inside[0]})")
    return tuple(streams)


def is_name(name: str) -> bool:
    """Return whether a name is a valid path inside a zarr group on any file system."""
    parts = name.split("/")
    if not NAME.fullmatch(name) or any(len(part) > MAX_COMPONENT_LENGTH for part in parts):
        return False
    # zarr reserves names with two leading underscores and the names of its files.
    return not any(set(part) == {"."} or part.startswith("__") or part == "zarr.json" for part in parts)


def _check(name: str, rate_hz: float) -> None:
    """Raise InvalidValueError for an invalid name or rate."""
    if not is_name(name):
        expected = f"components of at most {MAX_COMPONENT_LENGTH} letters, digits and _ . - separated by /"
        raise InvalidValueError("stream name", name, expected)
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise InvalidValueError(f"rate_hz of stream {name}", rate_hz, "a number above 0")


def _check_size(stream: VideoStream | DepthStream) -> None:
    """Raise InvalidValueError for images smaller than a codec's blocks or larger than any camera's."""
    for name, value in (("width", stream.width), ("height", stream.height)):
        if not 16 <= value <= MAX_PIXELS:
            raise InvalidValueError(f"{name} of stream {stream.name}", value, f"16 to {MAX_PIXELS} pixels")
