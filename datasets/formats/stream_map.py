"""Map keys of a source to streams: the option `--map KEY=STREAM[:NAMES]` of every import.

A key is a column, an array, an HDF5 dataset or a topic. Several keys may be mapped to one stream of numbers; their
values are joined in the order of the option:

    /left/joint_states=joint_states:left_      prefix of the names of its values
    actions=joint_commands:x,y,z,gripper       names of its values
    qvel=joint_states/velocity                 field of the stream
    wrist_image=cameras/wrist
    next.reward=none                           not imported
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from waldo.datasets import schema
from waldo.datasets.formats.names import stream_name
from waldo.errors import ConfigError, count

LEFT_OUT = "none"
"""Target of a key that is not imported."""

PREFIX_ENDS = ("_", ".", "/")
"""Last characters of a prefix of names; any other text after the colon is a list of names."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    **{stream: tuple(units) for stream, units in schema.JOINT_UNITS.items()},
    schema.ENVIRONMENT: ("value",),
    schema.MOTORS: tuple(schema.motor_keys()),
}
"""Stream of numbers -> its fields, the default first."""

POSES = re.compile(r"robot\d+_(eef_pos|eef_rot_axis_angle|gripper_width|demo_start_pose|demo_end_pose)")
"""Streams that an export to UMI reads."""

STREAMS = (*schema.STREAM_OF_TOPIC, "cameras/NAME", "depth/NAME", "robot0_eef_pos", LEFT_OUT)
"""Targets, for messages."""


class MapError(ConfigError):
    """A mapping of keys to streams that does not fit the source."""

    def __init__(self, why: str, keys: Iterable[str]) -> None:
        """Build the message from the reason and the keys of the source."""
        super().__init__(f"--map: {why} (keys of the source: {', '.join(keys) or 'none'})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The destination of one key."""

    stream: str
    """Stream name; empty for a key that is not imported."""
    field: str = "value"
    """Field of a stream of numbers."""
    prefix: str = ""
    """Prefix of the names of the values."""
    names: tuple[str, ...] = ()
    """Names of the values; empty for those of the source."""

    @property
    def is_images(self) -> bool:
        """Whether the stream consists of images."""
        return schema.is_camera(self.stream)


class StreamMap:
    """The mapping of the keys of one source or episode.

    Args:
        pairs: The values of the option.
        keys: All keys of the source.

    Raises:
        MapError: If a key or stream is unknown, a pair is malformed, or two keys are mapped to one camera.
    """

    def __init__(self, pairs: Sequence[str], keys: Collection[str]) -> None:
        self._keys = list(keys)
        self._targets: dict[str, Target] = {}
        for pair in pairs:
            key, equals, text = pair.rpartition("=")
            if not (key and equals and text):
                raise self._error(f"{pair!r} is not of the form KEY=STREAM or KEY=STREAM:NAMES")
            if key not in self._keys:
                raise self._error(f"unknown key {key!r}{_suggestion(key, self._keys)}")
            if key in self._targets:
                raise self._error(f"{key} is mapped twice")
            self._targets[key] = self._parsed(pair, text)
        self._require_own_cameras()

    def _error(self, why: str) -> MapError:
        return MapError(why, self._keys)

    def _parsed(self, pair: str, text: str) -> Target:
        address, colon, labels = text.partition(":")
        stream, field = self._address(pair, address)
        if colon and (not labels or schema.CAMERA_PREFIX in stream or not stream):
            raise self._error(f"{pair!r} has no names after the colon, or its stream has no named values")
        if labels.endswith(PREFIX_ENDS) and "," not in labels:
            return Target(stream=stream, field=field, prefix=labels)
        names = tuple(labels.split(",")) if labels else ()
        if not all(names) or len(set(names)) != len(names):
            raise self._error(f"{pair!r} has an empty name or one name twice")
        return Target(stream=stream, field=field, names=names)

    def _address(self, pair: str, address: str) -> tuple[str, str]:
        """Return the stream and field of a target such as `joint_states/velocity`; an empty stream for `none`."""
        if address == LEFT_OUT:
            return "", "value"
        if POSES.fullmatch(address) or (_is_camera(address) and stream_name(address) == address):
            return address, "value"
        for stream, fields in FIELDS.items():
            for name in (stream, schema.TOPIC_OF_STREAM[stream]):
                rest = address.removeprefix(name)
                if rest == "" and stream != schema.MOTORS:
                    return stream, fields[0]
                if address.startswith(name + "/") and rest[1:] in fields:
                    return stream, rest[1:]
                if address == name or address.startswith(name + "/"):
                    raise self._error(f"{pair!r} needs a field of {name}: {', '.join(fields)}")
        known = [*FIELDS, *STREAMS]
        unknown = f"unknown stream {address!r}{_suggestion(address, known)}; expected {', '.join(STREAMS)}"
        raise self._error(unknown)

    def _require_own_cameras(self) -> None:
        """Raise if two keys are mapped to one camera."""
        owner: dict[str, str] = {}
        for key, target in self._targets.items():
            if target.is_images and target.stream in owner:
                why = f"{owner[target.stream]} and {key} are both mapped to {target.stream}"
                raise self._error(f"{why}; a camera has one source")
            owner[target.stream] = key

    def __contains__(self, key: str) -> bool:
        """Return whether a key is mapped."""
        return key in self._targets

    @property
    def order(self) -> Sequence[str]:
        """The mapped keys in the order of the option."""
        return list(self._targets)

    @property
    def streams(self) -> Sequence[str]:
        """The streams of the mapped keys."""
        return [target.stream for target in self._targets.values() if target.stream]

    def takes(self, stream: str, field: str) -> bool:
        """Return whether some key is mapped to a field, so that no other key becomes it by its name."""
        return any((one.stream, one.field) == (stream, field) for one in self._targets.values())

    def get(self, key: str, *, is_images: bool) -> Target | None:
        """Return the target of a key; None if it is not mapped.

        Raises:
            MapError: If images are mapped to a stream of numbers or numbers to a camera.
        """
        target = self._targets.get(key)
        if target is None or not target.stream or target.is_images == is_images:
            return target
        contents, expected = ("images", "cameras/NAME") if is_images else ("numbers", "a stream of numbers")
        raise self._error(f"{key} contains {contents}, but {target.stream} was given; expected {expected}")

    def labels(self, key: str, own: Sequence[str]) -> tuple[str, ...]:
        """Return the names of a key's values: those of the option, or the source's with the option's prefix.

        Raises:
            MapError: If the number of names in the option differs from the number of values.
        """
        target = self._targets.get(key)
        if target is None:
            return tuple(own)
        if target.names and len(target.names) != len(own):
            found = f"{key} has {count(len(own), 'value')}, but {count(len(target.names), 'name')} are given"
            raise self._error(found)
        return target.names or tuple(target.prefix + label for label in own)

    def require_distinct(self, stream: str, labels: Mapping[str, Sequence[str]]) -> None:
        """Raise MapError if two keys of one stream have a value of the same name.

        Args:
            stream: Name of the stream.
            labels: Key -> names of its values.
        """
        owner: dict[str, str] = {}
        for key, names in labels.items():
            for name in names:
                if name in owner:
                    found = f"{owner[name]} and {key} both have a value {name!r} in {stream}"
                    raise self._error(f"{found}; give each a prefix, such as {key}={stream}:right_")
                owner[name] = key


def _suggestion(name: str, known: Sequence[str]) -> str:
    """Return the closest known name as a question; empty if none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _is_camera(address: str) -> bool:
    prefix = next((one for one in schema.IMAGE_PREFIXES if address.startswith(one)), "")
    return bool(prefix) and len(address) > len(prefix)
