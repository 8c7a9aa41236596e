"""Import robomimic's HDF5: /data/demo_<k> with obs/<key>, actions, states, rewards and dones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.arrays.draft import array_digest, make_draft
from waldo.datasets.formats.arrays.source_array import EpisodeInfo, SourceArray
from waldo.datasets.formats.hdf5 import files
from waldo.datasets.formats.hdf5.find import files_of
from waldo.datasets.formats.natural_order import natural
from waldo.datasets.formats.rows_in import NOMINAL, nominal_ns
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, SourceError
from waldo.datasets.schema import COMMAND, STATE
from waldo.datasets.selection import Outcome
from waldo.errors import FileError, UnknownNameError

FPS = 20.0
"""Control rate of robosuite's tasks, for files that do not state it [Hz]."""

STEPS = ("actions", "states", "rewards", "dones")
"""Datasets of a demonstration beside its observations."""

FIELDS: Mapping[str, tuple[str, str, str]] = {
    "robot0_joint_pos": (STATE, "position", "rad"),
    "robot0_joint_vel": (STATE, "velocity", "rad/s"),
    "joint_states": (STATE, "position", "rad"),
    "actions": (COMMAND, "position", ""),
}
"""Key -> stream, field and unit."""

NEXT_NOTE = "next_obs repeats obs one step later and is not imported."

IMAGES = ("_image", "_rgb")
"""Suffixes of the keys of cameras: robomimic's and LIBERO's."""


class RobomimicSource:
    """A robomimic file, or a folder of them, as LIBERO's suites are."""

    format = "robomimic"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read the metadata of the files.

        Raises:
            FileError: If none of them can be read.
        """
        root = path if path.is_dir() else path.parent
        self._demos: dict[str, tuple[RobomimicFile, str]] = {}
        opened: list[RobomimicFile] = []
        damaged: list[FileError] = []
        for file in files_of(path):
            try:
                opened.append(RobomimicFile(file, config))
            except FileError as error:
                damaged.append(error)
                continue
            prefix = "" if path.is_file() else f"{file.relative_to(root).as_posix()}/"
            self._demos |= {prefix + key: (opened[-1], key) for key in opened[-1].keys}
        if not opened:
            raise damaged[0] if damaged else FileError(path, "no .hdf5 file found", "choose a robomimic file or folder")
        self.name, self.robot, self.keys = path.absolute().name, opened[0].robot, list(self._demos)
        self.notes = list(dict.fromkeys(note for file in opened for note in file.notes))
        self.notes += [f"Not imported: {error}." for error in damaged]

    def digest(self, key: str) -> str:
        """Return a digest of the numbers, some images and the instruction."""
        file, demo = self._demo(key)
        return file.digest(demo)

    def read(self, key: str) -> EpisodeDraft:
        """Return a demonstration."""
        file, demo = self._demo(key)
        return file.read(demo)

    def _demo(self, key: str) -> tuple[RobomimicFile, str]:
        if key not in self._demos:
            raise UnknownNameError("demo", key, self._demos)
        return self._demos[key]


class RobomimicFile:
    """The demonstrations of one file."""

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read the metadata of the file."""
        self._path, self._config = path, config
        with files.open_file(path) as file:
            data = files.member(file, "data")
            if data is None:
                raise FileError(path, "the group /data is missing", "choose a robomimic file, or pass its --format")
            self.keys = sorted((str(key) for key in data), key=natural)
            attributes = files.attributes(data)
            self._environment = _environment(attributes.get("env_args"))
            # LIBERO's files state the instruction of all demonstrations here.
            self._instruction = str(_environment(attributes.get("problem_info")).get("language_instruction") or "")
            self._masks = _masks(file)
        kwargs = self._environment.get("env_kwargs")
        self._kwargs: Mapping[str, Any] = kwargs if isinstance(kwargs, dict) else {}
        robots = self._kwargs.get("robots")
        self.robot = str(robots[0] if isinstance(robots, list) and robots else robots or "")
        rate = self._kwargs.get("control_freq")
        known = isinstance(rate, int | float) and rate > 0
        self.fps = config.fps or (float(rate) if known and rate else FPS)
        self.notes = ["robomimic files have no timestamps: steps are numbered from 2000-01-01 (clock: nominal)."]
        if not known and not config.fps:
            self.notes.append(
                f"The file does not state its rate; {self.fps:g} Hz is assumed. Pass --fps for another one."
            )
        self.notes.append(f"Actions are those of the environment and are stored in {COMMAND} without a unit.")

    def digest(self, key: str) -> str:
        """Return a digest of the numbers, some images and the instruction."""
        with files.open_file(self._path) as file:
            demo = self._demo(file, key)
            arrays = self._arrays(demo, key)
            task = self._instruction or _task(files.attributes(demo), self._environment)
        return array_digest(arrays, task)

    def read(self, key: str) -> EpisodeDraft:
        """Return a demonstration."""
        with files.open_file(self._path) as file:
            demo = self._demo(file, key)
            arrays = self._arrays(demo, key)
            metadata = files.attributes(demo)
            notes = [NEXT_NOTE] if "next_obs" in demo else []
            rewards = files.numbers(demo, "rewards")
            values = np.asarray(rewards[:], np.float64) if rewards is not None else np.zeros(0)
            left_out: list[str] = []
            files.arrays(demo, "obs", left_out=left_out)
            words = {f"obs/{name}": "text" for name in left_out}
            if words:
                notes.append(f"Not imported: text columns ({', '.join(words)}).")
        task = self._instruction or _task(metadata, self._environment)
        attributes = {"task": task, "clock": NOMINAL, "environment": self._environment}
        masks = [name for name, demos in self._masks.items() if key in demos]
        info = EpisodeInfo(
            name=key,
            rate_hz=self.fps,
            header_ns=nominal_ns(arrays[0].shape[0], self.fps),
            attributes=attributes | ({"masks": masks} if masks else {}) | _plain(metadata),
            outcome=self._outcome(values),
            notes=notes,
            left_out=words | ({"next_obs": "obs one step later"} if notes[:1] == [NEXT_NOTE] else {}),
        )
        return make_draft(arrays, info, self._config)

    def _demo(self, file: Any, key: str) -> Any:
        return files.member(file, f"data/{key}")

    def _arrays(self, demo: Any, key: str) -> list[SourceArray]:
        """Return the arrays of a demonstration."""
        found = {f"obs/{name}": dataset for name, dataset in files.arrays(demo, "obs").items()}
        found |= {name: dataset for name in STEPS if (dataset := files.numbers(demo, name)) is not None}
        if not found:
            raise SourceError(key, "the demonstration has neither obs nor actions")
        return [self._array(key, name, dataset) for name, dataset in found.items()]

    def _array(self, key: str, name: str, dataset: Any) -> SourceArray:
        plain = name.removeprefix("obs/")
        stream, field, unit = FIELDS.get(plain, ("", "value", ""))
        array = SourceArray(
            key=name,
            shape=tuple(dataset.shape),
            dtype=dataset.dtype,
            read=partial(self._read, f"data/{key}/{name}"),
            stream=stream,
            field=field,
            unit=unit,
            swapped=self._config.color_order == "bgr",
        )
        if array.kind != "numbers" and not stream:
            return replace(array, name=plain.removesuffix(IMAGES[0]).removesuffix(IMAGES[1]))
        return array

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        with files.open_file(self._path) as file:
            return files.read(files.numbers(file, name), start, stop)

    def _outcome(self, rewards: NDArray[np.float64]) -> Outcome:
        """Return the outcome of a demonstration: a sparse reward, as of robosuite and LIBERO, is 1 on success."""
        libero = bool(self._instruction) and set(rewards.tolist()) <= {0.0, 1.0}
        sparse = self._kwargs.get("reward_shaping") is False or libero
        if not len(rewards) or not sparse:
            return self._config.outcome
        return "success" if rewards.max() >= 1.0 else "failure"


def _environment(text: Any) -> Mapping[str, Any]:
    """Return the parsed metadata of the environment; empty if it cannot be parsed."""
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _task(metadata: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Return the instruction of a demonstration, or else the name of the environment."""
    meta = _environment(metadata.get("ep_meta"))
    return str(meta.get("lang") or environment.get("env_name") or "")


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a demonstration except the scene's MJCF, which is long."""
    return {f"robomimic_{key}": value for key, value in metadata.items() if key not in ("model_file", "ep_meta")}


def _masks(file: Any) -> Mapping[str, set[str]]:
    """Return mask -> demonstrations; masks that are not lists of names are ignored."""
    group = files.member(file, "mask")
    found: dict[str, set[str]] = {}
    for name in group or ():
        dataset = files.member(group, name)
        if getattr(dataset, "dtype", np.dtype("V1")).kind == "S":
            found[str(name)] = {bytes(demo).decode("utf-8", "replace") for demo in dataset[:].reshape(-1)}
    return found
