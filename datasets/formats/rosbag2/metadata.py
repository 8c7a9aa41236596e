"""Metadata that waldo adds to a bag as JSON in its custom data, so that an import restores the same episode.

Other readers ignore it. Malformed metadata is ignored as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from waldo.datasets.dataset import RESERVED
from waldo.datasets.episode import Episode
from waldo.datasets.streams import Stream, check_streams, stream_from_dict
from waldo.errors import WaldoError

KEY = "waldo"
"""Key in the custom data of a bag."""

type TopicField = tuple[str, str]
"""Topic and field of its messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagMetadata:
    """Metadata of a bag that waldo exported; empty for other bags."""

    robot: str = ""
    """Name of the robot."""
    outcome: str = ""
    """Outcome of the attempt."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the episode."""
    events: Sequence[Mapping[str, Any]] = ()
    """Recorded events, each with `at_ns`, `kind` and `text`."""
    streams: Mapping[str, Stream] = field(default_factory=dict)
    """Streams by name."""
    places: Mapping[str, Mapping[str, TopicField]] = field(default_factory=dict)
    """Stream -> field -> topic and message field; the field of image streams is ""."""

    def stream_of(self, topic: str) -> str:
        """Return the stream that was exported to a topic; empty if there is none."""
        for name, fields in self.places.items():
            if any(at == topic for at, _ in fields.values()):
                return name
        return ""


def to_text(episode: Episode, places: Mapping[str, Mapping[str, TopicField]]) -> str:
    """Return the metadata of an episode as JSON."""
    metadata = {
        "version": 1,
        "robot": episode.robot,
        "outcome": episode.outcome,
        "attributes": {k: v for k, v in episode.attributes.items() if k not in RESERVED} | {"task": episode.task},
        "events": list(episode.events),
        "streams": {name: stream.to_dict() for name, stream in episode.streams.items() if name in places},
        "places": {name: {f: list(place) for f, place in fields.items()} for name, fields in places.items()},
    }
    return json.dumps(metadata)


def from_custom(custom: Any) -> BagMetadata:
    """Return the metadata in a bag's custom data; empty if it is absent or malformed."""
    try:
        data = json.loads(custom[KEY])
        streams = {str(name): stream_from_dict(value) for name, value in data["streams"].items()}
        check_streams(list(streams.values()))
        places = {
            str(name): {str(f): (str(topic), str(at)) for f, (topic, at) in fields.items()}
            for name, fields in data["places"].items()
        }
        if {name: stream.name for name, stream in streams.items()} != {name: name for name in places}:
            return BagMetadata()
        return BagMetadata(
            robot=str(data["robot"]),
            outcome=str(data["outcome"]),
            attributes={str(k): v for k, v in data["attributes"].items() if k not in RESERVED},
            events=list(_events(data["events"])),
            streams=streams,
            places=places,
        )
    except (TypeError, KeyError, ValueError, AttributeError, WaldoError):
        return BagMetadata()


def _events(events: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the well-formed events of a list."""
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and {"at_ns", "kind", "text"} <= event.keys() and isinstance(event["at_ns"], int):
            yield {str(key): value for key, value in event.items()}
