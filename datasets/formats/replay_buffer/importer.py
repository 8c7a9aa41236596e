"""Import diffusion_policy's replay buffers: zarr with /data/<key> and /meta/episode_ends, or UMI's zip files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.arrays.draft import array_digest, make_draft
from waldo.datasets.formats.arrays.source_array import EpisodeInfo, SourceArray
from waldo.datasets.formats.replay_buffer.real_robot import (
    buffer_of,
    has_videos,
    open_videos,
    sampled_images,
    video_keys,
)
from waldo.datasets.formats.replay_buffer.zarr2 import Zarr2
from waldo.datasets.formats.replay_buffer.zarr3 import open_zarr
from waldo.datasets.formats.rows_in import NOMINAL, Times, nominal_ns
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, SourceError
from waldo.datasets.schema import COMMAND, STATE, camera_stream
from waldo.errors import FileError, UnknownNameError

FPS = 10.0
"""Row rate of diffusion_policy's own recordings, for buffers that do not state it [Hz]."""

UMI_FPS = 60.0
"""Row rate of UMI's recordings (nominal rate of its 59.94 Hz cameras) [Hz]."""

STAMPS_KEY = "timestamp_ns"
"""Array of int64 timestamps that waldo's export adds [ns]."""

FIELDS: Mapping[str, tuple[str, str]] = {
    "action": (COMMAND, "position"),
    "robot_joint": (STATE, "position"),
    "robot_joint_vel": (STATE, "velocity"),
}
"""Key -> stream and field."""

STATES = ("state", "agent_pos")
"""Keys of joint positions in a buffer without `robot_joint`, in order of preference."""

UMI_CAMERA = re.compile(r"camera\d+_rgb")
"""Keys of UMI's cameras."""

OUTCOMES = ("success", "failure", "unknown")

SOURCE_CLOCK = "the source's"
"""Attribute `clock` of an episode with the timestamps of its source."""


class ReplayBufferSource:
    """A replay buffer."""

    format = "replay-buffer"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read the metadata of the buffer."""
        self._config, self._files = config, open_zarr(buffer_of(path))
        self.name = path.absolute().name
        self._ends = _ends(self._files)
        keys = self._files.keys("data")
        self._words = [key for key in keys if self._files.is_text(f"data/{key}")]
        self._keys = [key for key in keys if key not in self._words]
        metadata = self._files.attributes().get("waldo")
        self._metadata: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
        self.robot = str(self._metadata.get("robot") or "")
        self.keys = [str(number) for number in range(len(self._ends))]
        self.fps, self.notes = self._rate()
        if self._words:
            self.notes.append(f"Not imported: text columns ({', '.join(self._words)}).")
        if has_videos(self._files.path):
            self.notes.append(
                "Videos beside the buffer start with the first row of their episode, as they are recorded."
            )

    def _rate(self) -> tuple[float, list[str]]:
        """Return the row rate [Hz] and the notes about it."""
        known = self._metadata.get("fps")
        if self._config.fps or isinstance(known, int | float):
            return float(self._config.fps or known or FPS), []
        fps = UMI_FPS if any(key.endswith("_eef_pos") for key in self._keys) else FPS
        if STAMPS_KEY in self._keys or "timestamp" in self._keys:
            return fps, []
        return fps, [
            f"The replay buffer has no timestamps: rows are numbered at {fps:g} Hz from 2000-01-01; see --fps."
        ]

    def digest(self, key: str) -> str:
        """Return a digest of the numbers, the timestamps, some images and the instruction."""
        number = self._number(key)
        arrays, stamps = self._arrays(number)
        videos = {name: sampled_images(path) for name, path in video_keys(self._files.path, key).items()}
        return array_digest([*arrays, *stamps], self._listed("tasks", number), more=videos)

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode."""
        number = self._number(key)
        arrays, stamps = self._arrays(number)
        rows = self._ends[number] - self._start(number)
        header_ns, clock = self._stamps(key, stamps, rows)
        info = EpisodeInfo(
            name=f"episode {key}",
            rate_hz=self._rate_of(header_ns, clock),
            header_ns=header_ns,
            attributes={"task": self._listed("tasks", number), "clock": clock},
            outcome=self._outcome(number),
            notes=self._missing(number),
            left_out=dict.fromkeys(self._words, "text"),
        )
        videos = video_keys(self._files.path, key)
        return make_draft(arrays, info, self._config, partial(open_videos, videos), list(videos))

    def _missing(self, number: int) -> list[str]:
        """Return notes about missing chunks."""
        start, stop = self._start(number), self._ends[number]
        counts = {key: self._files.missing(f"data/{key}", start, stop) for key in self._keys}
        return [f"{key}: chunks are missing in the source and are read as zeros." for key, n in counts.items() if n]

    def _number(self, key: str) -> int:
        if key not in self.keys:
            raise UnknownNameError("episode", key, self.keys)
        return int(key)

    def _start(self, number: int) -> int:
        return self._ends[number - 1] if number else 0

    def _arrays(self, number: int) -> tuple[list[SourceArray], list[SourceArray]]:
        """Return the arrays of an episode and, separately, its timestamps."""
        found: list[SourceArray] = []
        stamps: list[SourceArray] = []
        start, stop = self._start(number), self._ends[number]
        for key in self._keys:
            array = self._files.array(f"data/{key}")
            if not array.shape or array.shape[0] < stop:
                total = array.shape[0] if array.shape else 0
                raise SourceError(f"episode {number}", f"{key} has {total} rows, expected at least {stop}")
            shape = (stop - start, *array.shape[1:])
            destination = self._destination(key, self._files.attributes(f"data/{key}").get("waldo"), len(array.shape))
            one = SourceArray(
                key=key,
                shape=shape,
                dtype=array.dtype,
                read=partial(self._read, key, start),
                swapped=self._config.color_order == "bgr",
                **destination,
            )
            is_time = key in (STAMPS_KEY, "timestamp") and int(np.prod(shape[1:])) == 1
            (stamps if is_time else found).append(one)
        return found, stamps

    def _read(self, key: str, offset: int, start: int, stop: int) -> NDArray[Any]:
        return self._files.read(f"data/{key}", offset + start, offset + stop)

    def _destination(self, key: str, metadata: Any, dimensions: int) -> dict[str, Any]:
        """Return the stream, field, unit and labels of an array: stated by waldo's export, or derived from its key."""
        if isinstance(metadata, dict) and isinstance(metadata.get("stream"), str):
            labels = metadata.get("labels")
            named = (
                {"field": str(metadata["field"]), "unit": str(metadata.get("unit", ""))} if "field" in metadata else {}
            )
            return {
                "stream": metadata["stream"],
                **named,
                "labels": tuple(map(str, labels)) if isinstance(labels, list) else (),
            }
        if UMI_CAMERA.fullmatch(key):
            return {"stream": camera_stream(key.removesuffix("_rgb"))}
        stream, field = FIELDS.get(key, ("", "value"))
        if key in STATES and "robot_joint" not in self._keys and not self._has_state_before(key):
            stream, field = STATE, "position"
        return {"stream": stream, "field": field} if dimensions <= 2 else {}

    def _has_state_before(self, key: str) -> bool:
        return any(state in self._keys for state in STATES[: STATES.index(key)])

    def _stamps(self, key: str, arrays: list[SourceArray], rows: int) -> tuple[Times, str]:
        """Return the timestamps of the rows [ns] and the name of their clock."""
        for array in sorted(arrays, key=lambda array: array.key != STAMPS_KEY):
            values = array.read(0, rows).reshape(-1)
            if values.dtype.kind == "f":
                if not np.isfinite(values).all():
                    continue
                values = np.round(values * 1e9)
            stamps = values.astype(np.int64)
            if rows < 2 or bool((np.diff(stamps) > 0).all()):
                return stamps, SOURCE_CLOCK
        if arrays and rows > 1 and len(arrays) == 1 and arrays[0].key == STAMPS_KEY:
            raise SourceError(f"episode {key}", f"{STAMPS_KEY} does not increase")
        return nominal_ns(rows, self.fps), NOMINAL

    def _rate_of(self, stamps: Times, clock: str) -> float:
        """Return the row rate: stated, or estimated from timestamps [Hz]."""
        if clock == NOMINAL or len(stamps) < 2 or self._config.fps or "fps" in self._metadata:
            return self.fps
        return float(f"{1e9 / float(np.median(np.diff(stamps))):.3g}")

    def _listed(self, name: str, number: int) -> str:
        """Return the value of an episode in a list of waldo's export; empty for other buffers."""
        values = self._metadata.get(name)
        return str(values[number]) if isinstance(values, list) and number < len(values) else ""

    def _outcome(self, number: int) -> Any:
        known = self._listed("outcomes", number)
        return known if known in OUTCOMES else self._config.outcome


def _ends(files: Zarr2) -> list[int]:
    """Return the row after the last one of each episode.

    Raises:
        FileError: If `meta/episode_ends` is missing or decreases.
    """
    if not files.has_array("meta/episode_ends"):
        raise FileError(files.path, "meta/episode_ends is missing", "choose the folder or zip file of a replay buffer")
    shape = files.array("meta/episode_ends").shape
    ends = np.asarray(files.read("meta/episode_ends", 0, shape[0] if shape else 0)).reshape(-1)
    if ends.dtype.kind not in "iu" or (np.diff(ends.astype(np.int64), prepend=0) < 0).any():
        found = f"meta/episode_ends is {ends[:5].tolist()} ..., expected non-decreasing integers"
        raise FileError(files.path, found, "fetch the file again")
    return [int(end) for end in ends]
