"""The attributes of an episode, checked before anything relies on them: a damaged file gives one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waldo.datasets.storage.array_file import array_metadata
from waldo.datasets.storage.episode_layout import SCHEMA_VERSION
from waldo.datasets.storage.store_path import StorePath
from waldo.datasets.streams import stream_from_dict
from waldo.errors import FileError, WaldoError
from waldo.json_file import shown

FORMAT = "waldo-episode"
"""Format name in an episode's attributes."""

MAX_WINDING = "max_winding_c"
"""Attribute: maximum winding temperature of all motors [°C]; null if unknown."""

MAX_WINDING_0_1 = "hottest_c"
"""Name of that attribute in episodes of waldo 0.1."""

REQUIRED = ("streams", "outcome", "reason", "span_ns", "nbytes", MAX_WINDING)
"""Attributes that every episode has."""

MAX_COUNT = 2**40
"""Most messages of a stream: 35 years at 1 kHz."""

MAX_C = 1e4
"""Highest temperature that an attribute can have [°C]."""

DO = "run waldo check on the dataset"


def read_attributes(episode: StorePath) -> Mapping[str, Any]:
    """Return the attributes of an episode, with the names of this version.

    Raises:
        FileError: If they cannot be read, are those of something else or of a newer version, or are damaged.
    """
    try:
        attributes = array_metadata(episode).get("attributes", {})
    except (OSError, ValueError) as error:
        raise FileError(episode, f"cannot be opened ({error})", DO) from error
    if not isinstance(attributes, dict):
        raise FileError(episode, f"cannot be opened (attributes is {shown(attributes)}, expected an object)", DO)
    kind, version = attributes.get("format"), attributes.get("schema_version")
    if kind != FORMAT or type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        found = f"is {shown(kind)} version {shown(version)}, expected {FORMAT!r} version {SCHEMA_VERSION}"
        raise FileError(episode, found, "update waldo")
    if MAX_WINDING_0_1 in attributes:
        attributes = {MAX_WINDING: attributes[MAX_WINDING_0_1], **attributes}
    if missing := [name for name in REQUIRED if name not in attributes]:
        raise FileError(episode, f"lacks attributes: {', '.join(missing)}", DO)
    for name in (*REQUIRED, "events"):
        if name in attributes and not _is_valid(name, attributes[name]):
            raise FileError(episode, f"is damaged (attribute {name} is {shown(attributes[name])})", DO)
    return attributes


def _is_valid(name: str, value: Any) -> bool:
    """Return whether the value of an attribute has the type and range that readers rely on."""
    match name:
        case "streams":
            return isinstance(value, dict) and all(_is_stream(key, one) for key, one in value.items())
        case "outcome" | "reason":
            return isinstance(value, str)
        case "span_ns":
            return isinstance(value, list) and len(value) == 2 and all(_is_stamp(stamp) for stamp in value)
        case "nbytes":
            return type(value) is int and value >= 0
        case "events":
            return isinstance(value, list) and all(map(is_event, value))
        case _:
            return value is None or (type(value) in (int, float) and abs(value) < MAX_C)


def _is_stream(name: str, summary: Any) -> bool:
    try:
        counts = (summary["count"], summary["lost"])
        return (
            all(type(one) is int and 0 <= one < MAX_COUNT for one in counts) and stream_from_dict(summary).name == name
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, WaldoError):
        return False


def is_event(value: Any) -> bool:
    """Return whether a value is an event of an episode."""
    return (
        isinstance(value, dict)
        and _is_stamp(value.get("at_ns"))
        and all(isinstance(value.get(key), str) for key in ("kind", "text"))
    )


def _is_stamp(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63
