"""Compatibility of recordings in one dataset: the same robot, cameras, joints and rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from waldo.datasets import schema
from waldo.datasets.streams import ScalarStream, Stream
from waldo.errors import WaldoError

OPTIONAL_STREAMS = (schema.COMMAND, schema.APPLIED, schema.ENVIRONMENT, schema.CONTROL, schema.POLICY)
"""Streams that an episode may lack even if other episodes of the dataset have them."""


RATE_TOLERANCE = 0.1
"""Relative difference up to which rates estimated from timestamps are considered equal."""


class IncompatibleError(WaldoError):
    """Recordings that cannot be in one dataset."""

    def __init__(self, problem: str, found: Sequence[str], do: str) -> None:
        """Build the message from the problem, the differences (one per line) and what to do."""
        lines = "".join(f"\n  {line}" for line in found)
        super().__init__(f"{problem}:{lines}\n{do}")


def differences(existing: Iterable[Stream], new: Iterable[Stream]) -> list[str]:
    """Return the differences between two sets of streams, one per line; none if they are compatible."""
    old = {stream.name: stream for stream in existing}
    now = {stream.name: stream for stream in new}
    lines = [f"{name}: in the dataset, not here" for name in old if name not in now and name not in OPTIONAL_STREAMS]
    lines += [f"{name}: here, not in the dataset" for name in now if name not in old and name not in OPTIONAL_STREAMS]
    for name in old.keys() & now.keys():
        lines += _changes(name, _traits(old[name]), _traits(now[name]))
    return sorted(lines)


def at_similar_rates(streams: Iterable[Stream], reference: Iterable[Stream]) -> tuple[Stream, ...]:
    """Return streams with the rates of the reference where they are nearly equal, for rates that were estimated."""
    known = {stream.name: stream.rate_hz for stream in reference}
    return tuple(_at_rate(stream, known.get(stream.name, 0.0)) for stream in streams)


def _at_rate(stream: Stream, rate_hz: float) -> Stream:
    is_similar = abs(stream.rate_hz - rate_hz) <= RATE_TOLERANCE * rate_hz
    return replace(stream, rate_hz=rate_hz) if is_similar else stream


def _traits(stream: Stream) -> Mapping[str, str]:
    """Return the properties that must be the same in all episodes, for messages."""
    if isinstance(stream, ScalarStream):
        fields = {f.name: ", ".join(f.labels) for f in stream.fields}
        return {"kind": "numbers", "rate": f"{stream.rate_hz:g} Hz", **fields}
    codec = getattr(stream, "codec", "depth")
    return {
        "kind": stream.kind,
        "rate": f"{stream.rate_hz:g} Hz",
        "size": f"{stream.width}x{stream.height}",
        "codec": codec,
    }


def _changes(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [f"{name} {key}: {old.get(key, 'absent')} in the dataset, {new.get(key, 'absent')} here" for key in keys]
