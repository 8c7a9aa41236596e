"""Why an imported episode cannot be exported to rows or used for training as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.formats.source import EpisodeDraft
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows
from waldo.datasets.streams import ScalarStream, Stream
from waldo.errors import WaldoError


def missing_streams(streams: Sequence[Stream]) -> list[str]:
    """Return the streams that an export to rows requires and an episode lacks."""
    usable = {
        stream.name
        for stream in streams
        if isinstance(stream, ScalarStream) and "position" in [field.name for field in stream.fields]
    }
    action = schema.COMMAND if schema.APPLIED not in usable else schema.APPLIED
    return [name for name in (schema.STATE, action) if name not in usable]


def missing_note(draft: EpisodeDraft) -> str:
    """Return a note that names the option which adds the missing streams; empty if none is missing."""
    missing = missing_streams(draft.streams)
    if not missing:
        return ""
    used = (*schema.IMAGE_PREFIXES, *schema.JOINT_UNITS)
    numbers = [row.key for row in draft.mapped if row.stream and not row.stream.startswith(used)]
    options = " ".join(f"KEY={schema.TOPIC_OF_STREAM[name]}" for name in missing)
    return (
        f"Without {' and '.join(missing)} the episodes cannot be exported to rows or used for training; pass --map "
        f"{options}" + (f", with keys such as: {', '.join(numbers[:8])}." if numbers else ".")
    )


def unfit_note(episode: Episode) -> str:
    """Return why a stored episode cannot be exported or used for training with the default options; empty if it can."""
    if missing_streams(list(episode.streams.values())):
        return ""
    action = "command" if schema.COMMAND in episode.streams else "sent"
    try:
        with np.errstate(over="ignore"):  # a value beyond float32 is reported as not finite
            make_rows(episode, RowConfig(action=action))
    except UnfitEpisodeError as error:
        return f"Not exported and not used for training with the default options: {error.why}."
    except WaldoError as error:
        return f"Not exported and not used for training with the default options: {error}."
    return "" if action == "command" else f"Without {schema.COMMAND}, export and train with --action sent."
