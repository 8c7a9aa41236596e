"""Import HDF5 with one episode per file, such as ALOHA's /observations/{qpos,qvel,images/<camera>} and /action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.arrays.draft import array_digest, make_draft
from waldo.datasets.formats.arrays.source_array import EpisodeInfo, SourceArray
from waldo.datasets.formats.hdf5 import files
from waldo.datasets.formats.hdf5.find import files_of
from waldo.datasets.formats.hdf5.layouts import Layout
from waldo.datasets.formats.rows_in import NOMINAL, nominal_ns
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, SourceError
from waldo.datasets.schema import COMMAND
from waldo.errors import FileError, UnknownNameError


@dataclass(frozen=True, slots=True)
class _Contents:
    """The datasets of one file."""

    arrays: list[SourceArray]
    left_out: Mapping[str, str]
    """Dataset that is not imported -> why."""
    notes: list[str]


class EpisodeFilesSource:
    """A folder of files with one episode each, or one such file."""

    robot = ""

    def __init__(self, path: Path, config: ImportConfig, layout: Layout) -> None:
        """Find the files."""
        self._config, self._layout, self.format = config, layout, layout.format
        root = path if path.is_dir() else path.parent
        self._paths = {file.relative_to(root).as_posix(): file for file in files_of(path)}
        if not self._paths:
            raise FileError(path, "no .hdf5 file found", f"choose a folder of {layout.title} episodes, or one file")
        self.name, self.keys = path.absolute().name, list(self._paths)
        self.fps = config.fps or layout.fps
        self.notes = [
            f"{layout.title} files have no timestamps: rows are numbered at {self.fps:g} Hz from 2000-01-01; see --fps."
        ]

    def digest(self, key: str) -> str:
        """Return a digest of the numbers, some images and the instruction."""
        with files.open_file(self._path(key)) as file:
            arrays = self._contents(file, key).arrays
            task = self._task(file, key)
        return array_digest(arrays, task)

    def _task(self, file: Any, key: str) -> str:
        texts = [text for name in self._layout.instructions for text in files.texts(file, name)]
        return texts[0] if texts else self._layout.instruction_of(self._path(key))

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode."""
        with files.open_file(self._path(key)) as file:
            found = self._contents(file, key)
            if not found.arrays:
                raise SourceError(key, "the file has no dataset with one entry per row")
            attributes = files.attributes(file)
            task = self._task(file, key)
        rows = found.arrays[0].shape[0]
        info = EpisodeInfo(
            name=key,
            rate_hz=self.fps,
            header_ns=nominal_ns(rows, self.fps),
            attributes={
                "task": task,
                "clock": NOMINAL,
                **{f"{self.format}_{name}": value for name, value in attributes.items()},
            },
            outcome=self._config.outcome,
            notes=found.notes,
            left_out=found.left_out,
        )
        return make_draft(found.arrays, info, self._config)

    def _path(self, key: str) -> Path:
        if key not in self._paths:
            raise UnknownNameError("episode", key, self._paths)
        return self._paths[key]

    def _contents(self, file: Any, key: str) -> _Contents:
        """Return the datasets of a file, those of the layout first."""
        datasets = files.datasets(file)
        order = {name: place for place, name in enumerate(self._layout.presets)}
        names = sorted(datasets, key=lambda name: (order.get(name, len(order)), not self._is_per_row(name), name))
        shapes = {name: tuple(datasets[name].shape) for name in names}
        arrays: list[SourceArray] = []
        left_out: dict[str, str] = {}
        for name in names:
            if files.is_encoded(datasets[name]):
                arrays.append(self._encoded(key, name, datasets[name]))
            elif files.is_text(datasets[name]):
                left_out[name] = "text"
            elif not shapes[name]:
                left_out[name] = "one value for the whole file"
            else:
                arrays.append(self._array(key, name, files.numbers(file, name), shapes))
        return self._with_equal_rows(arrays, left_out)

    def _with_equal_rows(self, arrays: list[SourceArray], left_out: dict[str, str]) -> _Contents:
        """Leave out the arrays that do not have one entry per row, and add the command if it is the next state."""
        rows = arrays[0].shape[0] if arrays and self._is_per_row(arrays[0].key) else None
        kept: list[SourceArray] = []
        for array in arrays:
            if rows is None or self._is_per_row(array.key) or array.shape[0] == rows:
                kept.append(array)
            else:
                left_out[array.key] = f"{array.shape[0]} rows, but the episode has {rows}"
        notes = [f"Not imported: text columns ({', '.join(k for k, why in left_out.items() if why == 'text')})."]
        notes = notes if "text" in left_out.values() else []
        following = next((array for array in kept if array.key == self._layout.next_state), None)
        if following is not None:
            kept.insert(1, _next_rows(following))
            notes.append(
                f"{self._layout.title} stores no commands: the command of a row is the position of the next one, as "
                "in its own converters, and the last position is repeated."
            )
        return _Contents(kept, left_out, notes)

    def _is_per_row(self, name: str) -> bool:
        return name.startswith(self._layout.per_row)

    def _array(self, key: str, name: str, dataset: Any, shapes: Mapping[str, Any]) -> SourceArray:
        stream, field, unit = self._layout.presets.get(name, ("", "value", ""))
        return SourceArray(
            key=name,
            shape=tuple(dataset.shape),
            dtype=dataset.dtype,
            read=partial(self._read, key, name),
            stream=stream,
            field=field,
            unit=unit,
            labels=self._layout.labels(name, shapes) if stream else (),
            name=self._plain(name),
            swapped=self._config.color_order == "bgr",
            depth_m=self._layout.depth_m,
        )

    def _encoded(self, key: str, name: str, dataset: Any) -> SourceArray:
        order = self._config.color_order
        return SourceArray(
            key=name,
            shape=(dataset.shape[0],),
            dtype=dataset.dtype,
            read=partial(self._read, key, name),
            name=self._plain(name),
            encoded=partial(self._images, key, name),
            swapped=order == "bgr" or (order == "auto" and self._layout.swapped),
        )

    def _plain(self, name: str) -> str:
        """Return the part of a path that becomes the name of a stream."""
        for prefix in self._layout.prefixes:
            name = name.removeprefix(prefix)
        for suffix in self._layout.suffixes:
            name = name.removesuffix(suffix)
        return name

    def _read(self, key: str, name: str, start: int, stop: int) -> NDArray[Any]:
        with files.open_file(self._path(key)) as file:
            return files.read(files.numbers(file, name), start, stop)

    def _images(self, key: str, name: str) -> Iterator[bytes]:
        """Yield the encoded images of a camera."""
        with files.open_file(self._path(key)) as file:
            dataset = files.member(file, name)
            for row in range(dataset.shape[0]):
                yield files.encoded_bytes(dataset[row])


def _next_rows(array: SourceArray) -> SourceArray:
    """Return the array of each row's successor, the last one repeated, as the command."""

    def read(start: int, stop: int) -> NDArray[Any]:
        end = array.shape[0]
        found = array.read(min(start + 1, end - 1), min(stop + 1, end))
        return np.concatenate([found, found[-1:]]) if len(found) < stop - start else found

    return SourceArray(
        key=f"{array.key}[1:]",
        shape=array.shape,
        dtype=array.dtype,
        read=read,
        stream=COMMAND,
        field="position",
        unit=array.unit,
        labels=array.labels,
    )
