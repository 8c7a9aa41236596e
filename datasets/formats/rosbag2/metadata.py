"""What waldo writes beside the messages of a bag, so that reading it back gives the same episode: JSON in custom data.

Any other reader passes it over. Here it is only believed as far as it is well formed.
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
"""Key in a bag's custom data."""

type TopicField = tuple[str, str]
"""TopicData, and the field of its messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagMetadata:
    """What is known of a bag beside its messages; empty for a bag of other origin."""

    robot: str = ""
    """The robot's name."""
    outcome: str = ""
    """How the attempt went."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """The episode's attributes."""
    events: Sequence[Mapping[str, Any]] = ()
    """What happened, each with `at_ns`, `kind` and `text`."""
    streams: Mapping[str, Stream] = field(default_factory=dict)
    """The streams by name."""
    places: Mapping[str, Mapping[str, TopicField]] = field(default_factory=dict)
    """Stream -> field -> where it is; of pictures under the field ""."""

    def stream_of(self, topic: str) -> str:
        """Return the stream whose messages a topic holds; empty where nothing is said of it."""
        for name, fields in self.places.items():
            if any(at == topic for at, _ in fields.values()):
                return name
        return ""


def to_text(episode: Episode, places: Mapping[str, Mapping[str, TopicField]]) -> str:
    """Return what is told of an episode."""
    told = {
        "version": 1,
        "robot": episode.robot,
        "outcome": episode.outcome,
        "attributes": {k: v for k, v in episode.attributes.items() if k not in RESERVED} | {"task": episode.task},
        "events": list(episode.events),
        "streams": {name: stream.to_dict() for name, stream in episode.streams.items() if name in places},
        "places": {name: {f: list(place) for f, place in fields.items()} for name, fields in places.items()},
    }
    return json.dumps(told)


def from_custom(custom: Any) -> BagMetadata:
    """Return what a bag's custom data tells; nothing where there is none, or it is not well formed."""
    try:
        told = json.loads(custom[KEY])
        streams = {str(name): stream_from_dict(data) for name, data in told["streams"].items()}
        check_streams(list(streams.values()))
        places = {
            str(name): {str(f): (str(topic), str(at)) for f, (topic, at) in fields.items()}
            for name, fields in told["places"].items()
        }
        if {name: stream.name for name, stream in streams.items()} != {name: name for name in places}:
            return BagMetadata()
        return BagMetadata(
            robot=str(told["robot"]),
            outcome=str(told["outcome"]),
            attributes={str(k): v for k, v in told["attributes"].items() if k not in RESERVED},
            events=list(_events(told["events"])),
            streams=streams,
            places=places,
        )
    except (TypeError, KeyError, ValueError, AttributeError, WaldoError):
        return BagMetadata()


def _events(told: Any) -> Iterator[Mapping[str, Any]]:
    for event in told if isinstance(told, list) else ():
        if isinstance(event, dict) and {"at_ns", "kind", "text"} <= event.keys() and isinstance(event["at_ns"], int):
            yield {str(key): value for key, value in event.items()}
