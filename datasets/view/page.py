"""A self-contained HTML page of an episode: cameras synchronized with curves, motor heat, losses and events.

The page is a single file that works offline and runs no script but its own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import stream_report
from waldo.datasets.view import curves, marks
from waldo.datasets.view.assets import FOLDER, asset, content_policy
from waldo.datasets.view.browser_video import browser_video
from waldo.datasets.view.curves import Table
from waldo.datasets.view.facts import facts
from waldo.errors import FileError, count
from waldo.files import atomic_file
from waldo.templates import load_template
from waldo.typing import Progress

LARGE_BYTES = 200_000_000
"""Size from which browsers take long to open a page."""

LINE_BYTES = 3 << 20
"""Bytes per line of base64; the page decodes it line by line. A multiple of three, so that no line is padded."""

MAX_MARKS = 2000
"""Largest number of marks in a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig:
    """Options of a page."""

    max_height: int = 0
    """Largest height of a camera's image; larger ones are scaled down and encoded again [px]. 0: as recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult:
    """The written page."""

    path: Path
    """File of the page."""
    nbytes: int
    """Size of the file [bytes]."""
    notes: Sequence[str]
    """Differences between the page and the recording, one sentence each."""

    @property
    def is_large(self) -> bool:
        """Whether browsers take long to open the page."""
        return self.nbytes > LARGE_BYTES


def write_page(
    episode: Episode, out: Path, config: PageConfig | None = None, advance: Progress = lambda done, total: None
) -> PageResult:
    """Write the page of an episode.

    Args:
        episode: The episode.
        out: File of the page; an existing one is replaced.
        config: Options.
        advance: Called with the number of finished cameras and the total.

    Raises:
        FileError: If the file cannot be written or the episode cannot be read.
    """
    if out.is_dir() or not out.absolute().parent.is_dir():
        found = "is a folder" if out.is_dir() else "the folder of this file does not exist"
        raise FileError(out, found, "choose a file in an existing folder")
    contents = _Contents(episode, config or PageConfig(), advance)
    style, script = asset("page.css"), asset("page.js")
    parts = load_template(FOLDER / "page.html").generate(
        policy=content_policy(script, style, "media-src blob:"),
        style=style,
        script=script,
        title=f"episode {episode.index}" + (f" · {episode.task}" if episode.task else "") + " · waldo",
        data=contents.data(),
        content=contents.content,
    )
    with atomic_file(out.absolute()) as partial, partial.open("wb") as file:
        for part in parts:
            # Attributes may contain lone surrogates, which UTF-8 cannot represent.
            file.write(part.encode(errors="replace"))
    return PageResult(path=out, nbytes=out.stat().st_size, notes=contents.notes)


@dataclass(slots=True)
class _Contents:
    """The data of a page. It is produced while the page is written, since videos may be large."""

    episode: Episode
    config: PageConfig
    advance: Progress
    start_ns: int = field(init=False)
    """Time zero of the page: the first stamp, or the first exposure of a camera with a calibrated latency."""
    tables: Mapping[str, Table] = field(init=False)
    cameras: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        stamps = [self.episode.capture_ns(name) for name in self.episode.streams if self.episode.count(name)]
        self.start_ns = min((int(one.min()) for one in stamps), default=0)
        self.tables = curves.tables(self.episode, self.start_ns)
        self.notes = [
            f"{name}: its curves show the minimum and maximum of every {table.rows_per_pair} rows"
            for name, table in self.tables.items()
            if table.rows_per_pair > 1
        ]

    def data(self) -> Iterator[tuple[str, Iterator[str]]]:
        """Yield the name and the base64 lines of each binary element."""
        names = [name for name in self.episode.image_streams if self.episode.count(name)]
        for number, name in enumerate(names):
            self.advance(number, len(names))
            yield from self._camera(name, number)
        self.advance(len(names), len(names))
        self.notes += [f"{camera['name']}: {camera['note']}" for camera in self.cameras if camera["note"]]
        for number, table in enumerate(self.tables.values()):
            yield f"time-{number}", _lines(table.time_s.astype("<f8").tobytes())
            yield f"values-{number}", _lines(np.ascontiguousarray(table.values, "<f4").tobytes())

    def _camera(self, name: str, number: int) -> Iterator[tuple[str, Iterator[str]]]:
        """Yield the video and the stamps of a camera and add its description to `cameras`."""
        episode = self.episode
        video = browser_video(episode, name, self.config.max_height)
        stamps = np.maximum.accumulate(episode.capture_ns(name))
        yield f"video-{number}", _lines(video.data)
        yield f"stamps-{number}", _lines(((stamps - self.start_ns) / 1e9).astype("<f8").tobytes())
        self.cameras.append(
            {
                "name": name,
                "fps": video.fps,
                "width": video.width,
                "height": video.height,
                "frames": episode.count(name),
                "period_s": 1 / episode.streams[name].rate_hz,
                "latency_ms": episode.edits.latency_ns.get(name, 0) / 1e6,
                "note": video.note,
            }
        )

    def content(self) -> Mapping[str, Any]:
        """Return everything else that the page's script shows; call it after `data` is exhausted."""
        episode = self.episode
        stamps = [episode.capture_ns(name) for name in episode.streams if episode.count(name)]
        last = max((int(one.max()) for one in stamps), default=0)
        return {
            "index": episode.index,
            "task": episode.task,
            "outcome": episode.outcome,
            "reason": episode.reason,
            "facts": facts(episode),
            "duration_s": max((last - self.start_ns) / 1e9, 1e-3),
            "cameras": self.cameras,
            "tables": [{"columns": table.values.shape[1]} for table in self.tables.values()],
            "panels": self._panels(),
            "streams": [_stream(episode, name) for name in episode.streams],
            "marks": self._marks(),
            "notes": self.notes,
        }

    def _panels(self) -> list[dict[str, Any]]:
        """Return the charts; each line refers to the number of its table."""
        numbers = {name: number for number, name in enumerate(self.tables)}
        panels = [asdict(panel) for panel in curves.panels(self.episode)]
        for line in (line for panel in panels for line in panel["lines"]):
            line["table"] = numbers[line.pop("stream")]
        return panels

    def _marks(self) -> list[dict[str, Any]]:
        """Return the marks, at most MAX_MARKS of them."""
        found = marks.find_marks(self.episode)
        if len(found) > MAX_MARKS:
            omitted = count(len(found) - MAX_MARKS, "mark")
            self.notes.append(f"the last {omitted} of {len(found)} are omitted; see: waldo check")
        return [
            {
                "kind": mark.kind,
                "stream": mark.stream,
                "start_s": (mark.start_ns - self.start_ns) / 1e9,
                "stop_s": (mark.stop_ns - self.start_ns) / 1e9,
                "text": mark.text,
            }
            for mark in found[:MAX_MARKS]
        ]


def _stream(episode: Episode, name: str) -> Mapping[str, Any]:
    """Return a row of the table of streams."""
    report = stream_report(episode, name)
    return {
        "name": name,
        "contents": episode.streams[name].summary,
        "count": report.count,
        "lost": report.lost,
        "rate_hz": report.rate_hz if np.isfinite(report.rate_hz) else None,
        "nominal_hz": report.nominal_hz,
        "longest_gap_s": report.longest_gap_s,
        "is_camera": name in episode.image_streams,
    }


def _lines(data: bytes) -> Iterator[str]:
    view = memoryview(data)
    for first in range(0, len(view), LINE_BYTES):
        yield base64.b64encode(view[first : first + LINE_BYTES]).decode()
