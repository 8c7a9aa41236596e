"""Find the stream and field that each column of exported rows was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.schema import ACTION_STREAMS, APPLIED, COMMAND, ENVIRONMENT, MOTORS, STATE, Action
from waldo.datasets.streams import ScalarStream


@dataclass(frozen=True, slots=True)
class ColumnSource:
    """The stream and field of a column."""

    stream: str
    """Stream name."""
    field: str
    """Field name."""
    unit: str
    """Unit of the field."""


def column_sources(episode: Episode, keys: Sequence[str], action: Action) -> Mapping[str, ColumnSource]:
    """Return LeRobot key -> source of the column.

    Args:
        episode: An exported episode.
        keys: The columns.
        action: Which stream of commands is the action.
    """
    fixed = {
        schema.OBSERVATION_STATE: (STATE, "position"),
        schema.OBSERVATION_ENVIRONMENT: (ENVIRONMENT, "value"),
        schema.ACTION: (ACTION_STREAMS[action], "position"),
        schema.TELEMETRY_APPLIED: (APPLIED, "position"),
        schema.TELEMETRY_COMMAND: (COMMAND, "position"),
    }
    found: dict[str, ColumnSource] = {}
    for key in keys:
        if key == schema.TELEMETRY_STALENESS:
            found[key] = ColumnSource(key, "value", "s")
            continue
        stream, field = fixed.get(key) or _telemetry_source(episode, key.removeprefix(schema.TELEMETRY))
        found[key] = ColumnSource(stream, field, episode.field(stream, field).unit)
    return found


def _telemetry_source(episode: Episode, field: str) -> tuple[str, str]:
    """Return the stream and field of a telemetry column: a field of the joint state, else of the motors."""
    state = episode.streams[STATE]
    is_state = isinstance(state, ScalarStream) and field in [entry.name for entry in state.fields]
    return (STATE if is_state else MOTORS), field
