"""robomimic's HDF5 -> episode store: /data/demo_k with obs/<key>, actions, states, rewards and dones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.arrays_in import EpisodeInfo, SourceArray, make_draft
from waldo.datasets.formats.hdf5 import files
from waldo.datasets.formats.rows_in import NOMINAL, nominal_ns
from waldo.datasets.formats.source import EpisodeDraft, Format, ImportConfig, SourceError, digest_of
from waldo.datasets.selection import Outcome
from waldo.errors import FileError, UnknownNameError

FPS = 20.0
"""Steps a second of robosuite's tasks, where the file does not say [Hz]."""

STEPS = ("actions", "states", "rewards", "dones")
"""Datasets of a demo beside its observations."""

PLACES: Mapping[str, tuple[str, str, str]] = {
    "robot0_joint_pos": ("joints/state", "position", "rad"),
    "robot0_joint_vel": ("joints/state", "velocity", "rad/s"),
    "actions": ("joints/command", "position", ""),
}
"""Key -> stream, field and unit."""

IMAGE = "_image"
"""What the keys of cameras end with."""


class RobomimicSource:
    """A robomimic file."""

    format: Format = "robomimic"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read what describes the file."""
        self._path, self._config = path, config
        self.name = path.absolute().name
        with files.open_file(path) as file:
            data = files.member(file, "data")
            if data is None:
                raise FileError(path, "has no group data", "name a robomimic file, or its --format")
            self.keys = sorted((str(key) for key in data), key=files.natural)
            self._environment = _environment(files.attributes(data).get("env_args"))
            self._masks = _masks(file)
        kwargs = self._environment.get("env_kwargs")
        self._kwargs: Mapping[str, Any] = kwargs if isinstance(kwargs, dict) else {}
        robots = self._kwargs.get("robots")
        self.robot = str(robots[0] if isinstance(robots, list) and robots else robots or "")
        told = self._kwargs.get("control_freq")
        known = isinstance(told, int | float) and told > 0
        self.fps = config.fps or (float(told) if known and told else FPS)
        self.notes = ["robomimic keeps no times: steps are counted from 2000-01-01 (clock: nominal)."]
        if not known and not config.fps:
            self.notes.append(f"The file does not say its rate; {self.fps:g} Hz is taken. Say another with --fps.")
        self.notes.append("Actions are the environment's own and are kept as joints/command with no unit.")

    def digest(self, key: str) -> str:
        """Return the identity of a demo: its numbers, and which pictures it has."""
        with files.open_file(self._path) as file:
            arrays = self._arrays(self._demo(file, key), key)
        small = [array.read(0, array.shape[0]) for array in arrays if array.kind == "numbers"]
        told = [(array.key, array.shape, array.dtype.str) for array in arrays]
        return digest_of("robomimic", key, told, *map(np.ascontiguousarray, small))

    def read(self, key: str) -> EpisodeDraft:
        """Return a demo."""
        with files.open_file(self._path) as file:
            demo = self._demo(file, key)
            arrays = self._arrays(demo, key)
            told = files.attributes(demo)
            notes = ["next_obs is obs a step later, and is not kept."] if "next_obs" in demo else []
            rewards = files.numbers(demo, "rewards")
            best = float(np.max(rewards[:], initial=-np.inf)) if rewards is not None else None
        attributes = {"task": _task(told, self._environment), "clock": NOMINAL, "environment": self._environment}
        masks = [name for name, demos in self._masks.items() if key in demos]
        info = EpisodeInfo(
            name=key,
            rate_hz=self.fps,
            header_ns=nominal_ns(arrays[0].shape[0], self.fps),
            attributes=attributes | ({"masks": masks} if masks else {}) | _plain(told),
            outcome=self._outcome(best),
            notes=notes,
        )
        return make_draft(arrays, info, self._config)

    def _demo(self, file: Any, key: str) -> Any:
        if key not in self.keys:
            raise UnknownNameError("demo", key, self.keys)
        return files.member(file, f"data/{key}")

    def _arrays(self, demo: Any, key: str) -> list[SourceArray]:
        """Return the arrays of a demo."""
        found = {f"obs/{name}": dataset for name, dataset in files.arrays(demo, "obs").items()}
        found |= {name: dataset for name in STEPS if (dataset := files.numbers(demo, name)) is not None}
        if not found:
            raise SourceError(key, "has neither obs nor actions")
        return [self._array(key, name, dataset) for name, dataset in found.items()]

    def _array(self, key: str, name: str, dataset: Any) -> SourceArray:
        plain = name.removeprefix("obs/")
        stream, field, unit = PLACES.get(plain, ("", "value", ""))
        array = SourceArray(
            key=name,
            shape=tuple(dataset.shape),
            dtype=dataset.dtype,
            read=partial(self._read, f"data/{key}/{name}"),
            stream=stream,
            field=field,
            unit=unit,
        )
        if array.kind != "numbers" and not stream:
            return replace(array, key=plain.removesuffix(IMAGE))
        return array

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        with files.open_file(self._path) as file:
            return files.read(files.numbers(file, name), start, stop)

    def _outcome(self, best: float | None) -> Outcome:
        """Return how a demo went: robosuite's sparse reward is 1 for success; a shaped one says nothing."""
        if best is None or self._kwargs.get("reward_shaping") is not False:
            return self._config.outcome
        return "success" if best >= 1.0 else "failure"


def _environment(text: Any) -> Mapping[str, Any]:
    """Return what a file says of its environment; nothing where it cannot be understood."""
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _task(told: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Return a demo's instruction, where it has one, else the environment's name."""
    meta = _environment(told.get("ep_meta"))
    return str(meta.get("lang") or environment.get("env_name") or "")


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a demo's attributes but for its model of the scene, which is long."""
    return {f"robomimic_{key}": value for key, value in told.items() if key not in ("model_file", "ep_meta")}


def _masks(file: Any) -> Mapping[str, set[str]]:
    """Return mask -> demos; masks that are no lists of names are passed over."""
    group = files.member(file, "mask")
    found: dict[str, set[str]] = {}
    for name in group or ():
        dataset = files.member(group, name)
        if getattr(dataset, "dtype", np.dtype("V1")).kind == "S":
            found[str(name)] = {bytes(demo).decode("utf-8", "replace") for demo in dataset[:].reshape(-1)}
    return found
