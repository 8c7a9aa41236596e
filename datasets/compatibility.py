"""Do two recordings fit into one dataset? Robot, cameras, joints and rates, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from waldo.datasets.streams import ScalarStream, Stream
from waldo.errors import WaldoError

MAY_BE_ABSENT = ("joints/command", "joints/sent", "environment")
"""Streams that an episode may lack beside others that have them."""


class IncompatibleError(WaldoError):
    """Recordings that do not fit together."""

    def __init__(self, what: str, found: Sequence[str], do: str) -> None:
        """Take what was tried, the differences one a line, and what to do."""
        lines = "".join(f"\n  {line}" for line in found)
        super().__init__(f"{what}:{lines}\n{do}")


def differences(have: Iterable[Stream], new: Iterable[Stream]) -> list[str]:
    """Return what `new` lacks, adds or has otherwise than `have`, one line each; none if they fit together."""
    old = {stream.name: stream for stream in have}
    now = {stream.name: stream for stream in new}
    lines = [f"{name}: in the dataset, not here" for name in old if name not in now and name not in MAY_BE_ABSENT]
    lines += [f"{name}: here, not in the dataset" for name in now if name not in old and name not in MAY_BE_ABSENT]
    for name in old.keys() & now.keys():
        lines += _differing(name, _traits(old[name]), _traits(now[name]))
    return sorted(lines)


def _traits(stream: Stream) -> Mapping[str, str]:
    """Return what must be the same in all episodes, in words."""
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


def _differing(name: str, have: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    keys = [key for key in {**have, **new} if have.get(key) != new.get(key)]
    return [f"{name} {key}: {have.get(key, 'absent')} in the dataset, {new.get(key, 'absent')} here" for key in keys]
