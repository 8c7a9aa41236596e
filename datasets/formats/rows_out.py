"""What exports to row formats share: the target that is whole or absent, and where each column came from."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.reading.rows import SENT
from waldo.datasets.selection import Selection
from waldo.datasets.streams import ScalarStream
from waldo.errors import FileError
from waldo.files import sync_file

STALENESS = "telemetry.staleness"
"""Column of how old each sample of a row is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a column of rows came from."""

    stream: str
    """Name of the stream."""
    field: str
    """Name of the field."""
    unit: str
    """Its unit."""


def origins(episode: Episode, keys: Sequence[str], action: str) -> Mapping[str, Origin]:
    """Return LeRobot's key of each column -> the stream and field that it was made from."""
    other = "command" if action == "sent" else "sent"
    fixed = {
        "observation.state": ("joints/state", "position"),
        "observation.environment_state": ("environment", "value"),
        "action": (f"joints/{action}", "position"),
        SENT: (f"joints/{other}", "position"),
        "telemetry.command": (f"joints/{other}", "position"),
    }
    found: dict[str, Origin] = {}
    for key in keys:
        if key == STALENESS:
            found[key] = Origin(STALENESS, "value", "s")
            continue
        stream, field = fixed.get(key) or _telemetry(episode, key.removeprefix("telemetry."))
        found[key] = Origin(stream, field, episode.field(stream, field).unit)
    return found


def _telemetry(episode: Episode, field: str) -> tuple[str, str]:
    """Return which stream a field of telemetry is of."""
    state = episode.streams["joints/state"]
    own = isinstance(state, ScalarStream) and field in [f.name for f in state.fields]
    return ("joints/state" if own else "motors"), field


def choose(dataset: Dataset, selection: Selection) -> list[int]:
    """Return the episodes that are meant; none is refused."""
    chosen = dataset.select(selection)
    if not chosen:
        skipped = len(dataset.indices)
        do = "pass --outcome success failure unknown"
        raise FileError(dataset.path, f"has no episode to export ({skipped} are not asked for)", do)
    return chosen


def need_absent(target: Path) -> None:
    """Refuse a target that holds something."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(target, "is not empty", "choose another folder or remove it")


@contextmanager
def building(target: Path) -> Generator[Path]:
    """Give a place to build in beside the target; it becomes the target when the block ends without an error."""
    need_absent(target)
    place = target.absolute().with_name(f".{target.name}.partial")
    _remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield place
        with suppress(FileNotFoundError):
            target.rmdir()
        place.rename(target)
        sync_file(target.absolute().parent)
    finally:
        _remove(place)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
