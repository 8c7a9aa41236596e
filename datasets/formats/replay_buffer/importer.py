"""diffusion_policy's replay buffer -> episode store: zarr v2 with /data/<key> and /meta/episode_ends, or UMI's zip."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.arrays_in import EpisodeInfo, SourceArray, make_draft
from waldo.datasets.formats.replay_buffer.zarr2 import Zarr2
from waldo.datasets.formats.rows_in import NOMINAL, Times, nominal_ns
from waldo.datasets.formats.source import EpisodeDraft, Format, ImportConfig, SourceError, digest_of
from waldo.errors import FileError, UnknownNameError

FPS = 10.0
"""Rows a second of diffusion_policy's own recordings, where a buffer does not say [Hz]."""

UMI_FPS = 60.0
"""Rows a second of UMI's (59.94 of its cameras) [Hz]."""

STAMPS_KEY = "timestamp_ns"
"""Array of int64 stamps that waldo's export writes [ns]."""

PLACES: Mapping[str, tuple[str, str]] = {
    "action": ("joints/command", "position"),
    "robot_joint": ("joints/state", "position"),
    "robot_joint_vel": ("joints/state", "velocity"),
}
"""Key -> stream and field."""

STATES = ("state", "agent_pos")
"""Keys that are the joints' state where there is no robot_joint."""

UMI_CAMERA = re.compile(r"camera\d+_rgb")
"""Keys of UMI's cameras."""

OUTCOMES = ("success", "failure", "unknown")


class ReplayBufferSource:
    """A replay buffer."""

    format: Format = "replay-buffer"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read what describes the buffer."""
        self._config, self._files = config, Zarr2(path)
        self.name = path.absolute().name
        self._ends = _ends(self._files)
        self._keys = self._files.keys("data")
        told = self._files.attributes().get("waldo")
        self._told: Mapping[str, Any] = told if isinstance(told, dict) else {}
        self.robot = str(self._told.get("robot") or "")
        self.keys = [str(number) for number in range(len(self._ends))]
        self.fps, self.notes = self._rate()

    def _rate(self) -> tuple[float, list[str]]:
        """Return rows a second and what is to be said of them."""
        told = self._told.get("fps")
        if self._config.fps or isinstance(told, int | float):
            return float(self._config.fps or told or FPS), []
        fps = UMI_FPS if any(key.endswith("_eef_pos") for key in self._keys) else FPS
        if STAMPS_KEY in self._keys or "timestamp" in self._keys:
            return fps, []
        return fps, [f"A replay buffer keeps no times: rows are counted at {fps:g} Hz from 2000-01-01; see --fps."]

    def digest(self, key: str) -> str:
        """Return the identity of an episode: its rows of numbers, and which pictures it has."""
        arrays, _ = self._arrays(self._number(key))
        small = [array.read(0, array.shape[0]) for array in arrays if array.kind == "numbers"]
        told = [(array.key, array.shape, array.dtype.str) for array in arrays]
        return digest_of("replay-buffer", key, told, *map(np.ascontiguousarray, small))

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
            attributes={"task": self._word("tasks", number), "clock": clock},
            outcome=self._outcome(number),
            notes=self._missing(number),
        )
        return make_draft(arrays, info, self._config)

    def _missing(self, number: int) -> list[str]:
        """Say which arrays lack pieces."""
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
        """Return the arrays of an episode, and apart from them those of its stamps."""
        found: list[SourceArray] = []
        stamps: list[SourceArray] = []
        start, stop = self._start(number), self._ends[number]
        for key in self._keys:
            array = self._files.array(f"data/{key}")
            if not array.shape or array.shape[0] < stop:
                total = array.shape[0] if array.shape else 0
                raise SourceError(f"episode {number}", f"{key} ends at row {total}, expected {stop}")
            shape = (stop - start, *array.shape[1:])
            place = self._place(key, self._files.attributes(f"data/{key}").get("waldo"), len(array.shape))
            one = SourceArray(key=key, shape=shape, dtype=array.dtype, read=partial(self._read, key, start), **place)
            is_time = key in (STAMPS_KEY, "timestamp") and int(np.prod(shape[1:])) == 1
            (stamps if is_time else found).append(one)
        return found, stamps

    def _read(self, key: str, offset: int, start: int, stop: int) -> NDArray[Any]:
        return self._files.read(f"data/{key}", offset + start, offset + stop)

    def _place(self, key: str, told: Any, dimensions: int) -> dict[str, Any]:
        """Return where an array belongs: as waldo's own export says, else by its name."""
        if isinstance(told, dict) and isinstance(told.get("stream"), str):
            labels = told.get("labels")
            named = {"field": str(told["field"]), "unit": str(told.get("unit", ""))} if "field" in told else {}
            return {
                "stream": told["stream"],
                **named,
                "labels": tuple(map(str, labels)) if isinstance(labels, list) else (),
            }
        if UMI_CAMERA.fullmatch(key):
            return {"stream": f"cameras/{key.removesuffix('_rgb')}"}
        stream, field = PLACES.get(key, ("", "value"))
        if key in STATES and "robot_joint" not in self._keys and not self._has_state_before(key):
            stream, field = "joints/state", "position"
        return {"stream": stream, "field": field} if dimensions <= 2 else {}

    def _has_state_before(self, key: str) -> bool:
        return any(state in self._keys for state in STATES[: STATES.index(key)])

    def _stamps(self, key: str, arrays: list[SourceArray], rows: int) -> tuple[Times, str]:
        """Return the rows' stamps [ns] and the clock that they are of: the source's, or a nominal one."""
        for array in sorted(arrays, key=lambda array: array.key != STAMPS_KEY):
            values = array.read(0, rows).reshape(-1)
            if values.dtype.kind == "f":
                if not np.isfinite(values).all():
                    continue
                values = np.round(values * 1e9)
            stamps = values.astype(np.int64)
            if rows < 2 or bool((np.diff(stamps) > 0).all()):
                return stamps, "the source's"
        if arrays and rows > 1 and len(arrays) == 1 and arrays[0].key == STAMPS_KEY:
            raise SourceError(f"episode {key}", "its timestamps do not rise")
        return nominal_ns(rows, self.fps), NOMINAL

    def _rate_of(self, stamps: Times, clock: str) -> float:
        """Return the rate of rows: as told, else counted from true stamps [Hz]."""
        if clock == NOMINAL or len(stamps) < 2 or self._config.fps or "fps" in self._told:
            return self.fps
        return float(f"{1e9 / float(np.median(np.diff(stamps))):.3g}")

    def _word(self, name: str, number: int) -> str:
        """Return what waldo's export says of an episode in a list; empty where it is another's."""
        words = self._told.get(name)
        return str(words[number]) if isinstance(words, list) and number < len(words) else ""

    def _outcome(self, number: int) -> Any:
        told = self._word("outcomes", number)
        return told if told in OUTCOMES else self._config.outcome


def _ends(files: Zarr2) -> list[int]:
    """Return where each episode ends, in rows; ends that fall are refused."""
    if not files.has("meta/episode_ends/.zarray"):
        raise FileError(files.path, "has no meta/episode_ends", "name a replay buffer's folder or zip")
    shape = files.array("meta/episode_ends").shape
    ends = np.asarray(files.read("meta/episode_ends", 0, shape[0] if shape else 0)).reshape(-1)
    if ends.dtype.kind not in "iu" or (np.diff(ends.astype(np.int64), prepend=0) < 0).any():
        raise FileError(files.path, f"its meta/episode_ends is {ends[:5].tolist()} ..., expected rising whole numbers")
    return [int(end) for end in ends]
