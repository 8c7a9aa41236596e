"""What an episode's streams are: rows of numbers, or a camera's colour or depth images. Frozen, checked, JSON-able."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from waldo.errors import InvalidValueError

NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
"""A stream's name: parts of a path inside the episode's group."""

CRF = 21
"""Constant rate factor of h264 unless said otherwise: about the size and the quality of what LeRobot writes as AV1."""

LONGEST_PART = 200
"""Characters of a folder's name; file systems take 255 bytes, and temporary names are longer."""

RESERVED_FIELDS = ("time", "receipt_time", "publish_time", "sequence")
"""Arrays that every stream has; no field may bear their names."""

type Codec = Literal["h264", "lossless", "jpeg"]

CODECS: tuple[Codec, ...] = ("h264", "lossless", "jpeg")
"""How colour frames are kept."""


@dataclass(frozen=True, slots=True)
class Field:
    """One quantity of a scalar stream: an array of shape (rows, labels)."""

    name: str
    """What it is, such as "position"."""
    unit: str
    """SI unit or °C; "1" for a ratio."""
    labels: tuple[str, ...]
    """What each column belongs to, such as the joints' names."""
    dtype: Literal["float32", "float64"] = "float32"
    """How a value is stored. float32 resolves 2e-7 rad at 3 rad."""

    def __post_init__(self) -> None:
        """Refuse names that could not be an array's and fields without columns."""
        if not is_name(self.name) or "/" in self.name or self.name in RESERVED_FIELDS:
            raise InvalidValueError("Field.name", self.name, f"letters, digits and _ . - and none of {RESERVED_FIELDS}")
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
    """Rate at which it is published [Hz]."""
    fields: tuple[Field, ...]
    """The quantities of a row."""

    def __post_init__(self) -> None:
        """Refuse impossible names, rates and fields."""
        _check(self.name, self.rate_hz)
        object.__setattr__(self, "fields", tuple(self.fields))
        names = [field.name for field in self.fields]
        if not names or len(set(names)) != len(names):
            raise InvalidValueError(f"the fields of stream {self.name}", tuple(names), "one or more distinct names")

    @property
    def kind(self) -> Literal["scalar"]:
        """Which sort of stream it is."""
        return "scalar"

    @property
    def summary(self) -> str:
        """What it holds, in a few words."""
        return ", ".join(f"{field.name}[{len(field.labels)}]" for field in self.fields)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """The layout of one row in the journal: the fields one after another, little endian, no padding."""
        return np.dtype([(f.name, np.dtype(f.dtype).newbyteorder("<"), (len(f.labels),)) for f in self.fields])

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON-able values."""
        fields = [{"name": f.name, "unit": f.unit, "labels": list(f.labels), "dtype": f.dtype} for f in self.fields]
        return {"kind": self.kind, "name": self.name, "rate_hz": self.rate_hz, "fields": fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """The colour frames of one camera, uint8 (T, H, W, 3), in closed groups of pictures."""

    name: str
    """Path of the stream's group in the episode, such as `cameras/front`."""
    width: int
    """Pixels across; even for h264."""
    height: int
    """Pixels down; even for h264."""
    rate_hz: float
    """Frames a second [Hz]."""
    codec: Codec = "h264"
    """h264 (4:2:0, small), lossless (H.264 of exact RGB) or jpeg (each frame alone, as the camera sent it)."""
    gop: int = 5
    """Frames a group of pictures: the most that must be decoded to see one. A jpeg stream has groups of one."""
    crf: int = CRF
    """Constant rate factor of h264: lower is better and larger."""
    encoder: str = "libx264"
    """What encodes h264: libx264 or the name of a hardware encoder; "auto" is decided when an episode begins."""

    def __post_init__(self) -> None:
        """Refuse what the codec cannot hold."""
        _check(self.name, self.rate_hz)
        if self.codec not in CODECS:
            raise InvalidValueError(f"codec of stream {self.name}", self.codec, f"one of {', '.join(CODECS)}")
        _check_size(self)
        even = self.codec == "h264"
        for name, value in (("width", self.width), ("height", self.height)):
            if even and value % 2:
                raise InvalidValueError(f"{name} of stream {self.name}", value, "an even number of pixels, 16 or more")
        if self.gop < 1:
            raise InvalidValueError(f"gop of stream {self.name}", self.gop, "1 or more")
        if not 0 <= self.crf <= 51:
            raise InvalidValueError(f"crf of stream {self.name}", self.crf, "0 to 51")
        if self.codec == "jpeg":
            object.__setattr__(self, "gop", 1)

    @property
    def kind(self) -> Literal["video"]:
        """Which sort of stream it is."""
        return "video"

    @property
    def summary(self) -> str:
        """What it holds, in a few words."""
        return f"{self.width}x{self.height} {self.codec}"

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return (self.height, self.width, 3)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON-able values."""
        return {"kind": self.kind, **{key: getattr(self, key) for key in self.__slots__}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthStream:
    """The depth images of one camera, uint16 (T, H, W), kept without loss; 0 where nothing was measured."""

    name: str
    """Path of the stream's group in the episode, such as `depth/front`."""
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    rate_hz: float
    """Images a second [Hz]."""
    unit_m: float = 0.001
    """Length of one step of a pixel's value [m]."""

    def __post_init__(self) -> None:
        """Refuse impossible names, rates, sizes and units."""
        _check(self.name, self.rate_hz)
        _check_size(self)
        if not (math.isfinite(self.unit_m) and self.unit_m > 0):
            raise InvalidValueError(f"unit_m of stream {self.name}", self.unit_m, "a length above 0")

    @property
    def kind(self) -> Literal["depth"]:
        """Which sort of stream it is."""
        return "depth"

    @property
    def summary(self) -> str:
        """What it holds, in a few words."""
        return f"{self.width}x{self.height} depth"

    @property
    def gop(self) -> int:
        """Images a chunk: each stands alone."""
        return 1

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return (self.height, self.width)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON-able values."""
        return {"kind": self.kind, **{key: getattr(self, key) for key in self.__slots__}}


type ImageStream = VideoStream | DepthStream
"""A stream of pictures."""

type Stream = ScalarStream | ImageStream


def stream_from_dict(data: Mapping[str, Any]) -> Stream:
    """Return the stream that `to_dict` described; keys that are not a description's are left out."""
    if data["kind"] == "video":
        return VideoStream(**{key: data[key] for key in VideoStream.__slots__})
    if data["kind"] == "depth":
        return DepthStream(**{key: data[key] for key in DepthStream.__slots__})
    fields = tuple(Field(f["name"], f["unit"], tuple(f["labels"]), f["dtype"]) for f in data["fields"])
    return ScalarStream(name=data["name"], rate_hz=data["rate_hz"], fields=fields)


def check_streams(streams: Sequence[Stream]) -> tuple[Stream, ...]:
    """Return the streams of one episode, refusing names that cannot live in one group beside each other."""
    names = [stream.name for stream in streams]
    if not names:
        raise InvalidValueError("streams", [], "one stream or more")
    if len(names) > 255:
        raise InvalidValueError("the number of streams", len(names), "at most 255")
    for name in names:
        if names.count(name) > 1:
            raise InvalidValueError("streams", name, "distinct names")
        inside = [other for other in names if other.startswith(name + "/")]
        if inside:
            raise InvalidValueError("streams", name, f"a name that is not the folder of another stream ({inside[0]})")
    return tuple(streams)


def is_name(name: str) -> bool:
    """Whether a name can be a path of folders inside a zarr group on any file system."""
    parts = name.split("/")
    if not NAME.fullmatch(name) or any(len(part) > LONGEST_PART for part in parts):
        return False
    # zarr keeps names that begin with two underscores for itself, as it does its files' own.
    return not any(set(part) == {"."} or part.startswith("__") or part == "zarr.json" for part in parts)


def _check(name: str, rate_hz: float) -> None:
    """Refuse a name that is no path and a rate that no clock has."""
    if not is_name(name):
        raise InvalidValueError(
            "stream name", name, f"parts of at most {LONGEST_PART} letters, digits and _ . - joined by /"
        )
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise InvalidValueError(f"rate_hz of stream {name}", rate_hz, "a number above 0")


def _check_size(stream: VideoStream | DepthStream) -> None:
    """Refuse pictures too small for a codec's blocks."""
    for name, value in (("width", stream.width), ("height", stream.height)):
        if value < 16:
            raise InvalidValueError(f"{name} of stream {stream.name}", value, "16 pixels or more")
