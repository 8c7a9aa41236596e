"""A self-contained HTML page of an episode: cameras in step with curves, heat and everything that went wrong.

The page is one file that opens from a disk, asks nobody for anything and may run no other script than its own.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from waldo.cli.tables import size
from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import stream_report
from waldo.datasets.view import curves, marks
from waldo.datasets.view.browser_video import browser_video
from waldo.datasets.view.curves import Table
from waldo.errors import FileError

LARGE_BYTES = 200_000_000
"""From this size on browsers take their time to open a page."""

LINE_BYTES = 3 << 20
"""Bytes a line of base64: a page decodes it line by line. A multiple of three, so that no line is padded."""

MOST_MARKS = 2000
"""Most marks that a page carries."""

KNOWN = ("format", "schema_version", "task", "robot", "software", "outcome", "reason", "streams", "events", "span_ns")
"""Attributes that the page shows in a place of their own, with those that are the store's own."""

INTERNAL = ("nbytes", "max_winding_c", "hottest_c", "metadata_crc32c")
"""Attributes that are shown otherwise or not at all."""

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig:
    """How a page is made."""

    max_height: int = 0
    """Most pixels that a camera's picture is high; larger ones are scaled down and encoded anew. 0: as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult:
    """What was written."""

    path: Path
    """The page."""
    nbytes: int
    """Its size."""
    notes: Sequence[str]
    """What is shown otherwise than it was recorded, one sentence each."""

    @property
    def is_large(self) -> bool:
        """Whether browsers will take their time to open it."""
        return self.nbytes > LARGE_BYTES


def write_page(
    episode: Episode, out: Path, config: PageConfig | None = None, advance: Callable[[int, int], None] | None = None
) -> PageResult:
    """Write the page of an episode to a file; `advance` hears how many of how many cameras are done.

    Raises FileError where the file cannot be written or the episode cannot be read.
    """
    chosen = config or PageConfig()
    start = _start_ns(episode)
    found = curves.tables(episode, start)
    notes = [_thin_note(name, table) for name, table in found.items() if table.rows_per_pair > 1]
    temporary = out.with_name(out.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(_opening(episode))
            cameras: list[dict[str, Any]] = []
            names = [name for name in episode.image_streams if episode.count(name)]
            for done, name in enumerate(names):
                if advance is not None:
                    advance(done, len(names))
                cameras.append(_camera(episode, name, done, start, chosen, file))
            if advance is not None:
                advance(len(names), len(names))
            notes += [f"{camera['name']}: {camera['note']}" for camera in cameras if camera["note"]]
            for place, table in enumerate(found.values()):
                _write_data(file, f"time-{place}", table.time_s.astype("<f8").tobytes())
                _write_data(file, f"values-{place}", np.ascontiguousarray(table.values, "<f4").tobytes())
            file.write(_closing(_content(episode, start, cameras, found, notes)))
        temporary.replace(out)
    except IsADirectoryError as error:
        raise FileError(out, "is a folder", "name the file that the page is to be written to") from error
    except FileNotFoundError as error:
        if temporary.parent.is_dir():
            raise
        raise FileError(out, "its folder does not exist", "make it first") from error
    finally:
        temporary.unlink(missing_ok=True)
    return PageResult(path=out, nbytes=out.stat().st_size, notes=notes)


def _start_ns(episode: Episode) -> int:
    """Return the page's zero: the first stamp, or the first light where a camera's latency is known."""
    firsts = [int(episode.capture_ns(name).min()) for name in episode.streams if episode.count(name)]
    return min(firsts, default=0)


def _camera(
    episode: Episode, name: str, place: int, start_ns: int, config: PageConfig, file: BinaryIO
) -> dict[str, Any]:
    """Write a camera's video and stamps and return its description."""
    video = browser_video(episode, name, config.max_height)
    stamps = np.maximum.accumulate(episode.capture_ns(name))
    _write_data(file, f"video-{place}", video.data)
    _write_data(file, f"stamps-{place}", ((stamps - start_ns) / 1e9).astype("<f8").tobytes())
    return {
        "name": name,
        "fps": video.fps,
        "width": video.width,
        "height": video.height,
        "frames": episode.count(name),
        "period_s": 1 / episode.streams[name].rate_hz,
        "latency_ms": episode.edits.latency_ns.get(name, 0) / 1e6,
        "note": video.note,
    }


def _content(
    episode: Episode,
    start_ns: int,
    cameras: Sequence[Mapping[str, Any]],
    found: Mapping[str, Table],
    notes: Sequence[str],
) -> Mapping[str, Any]:
    """Return everything that the page's script is told."""
    places = {name: place for place, name in enumerate(found)}
    marked = marks.find_marks(episode)
    if len(marked) > MOST_MARKS:
        notes = [*notes, f"{len(marked) - MOST_MARKS} later marks of {len(marked)} are left out; see waldo check"]
    panels = [asdict(panel) for panel in curves.panels(episode)]
    for line in (line for panel in panels for line in panel["lines"]):
        line["table"] = places[line.pop("stream")]
    last = max((int(episode.capture_ns(name).max()) for name in episode.streams if episode.count(name)), default=0)
    return {
        "index": episode.index,
        "task": episode.task,
        "outcome": episode.outcome,
        "reason": episode.reason,
        "facts": facts(episode),
        "duration_s": max((last - start_ns) / 1e9, 1e-3),
        "cameras": cameras,
        "tables": [{"columns": table.values.shape[1]} for table in found.values()],
        "panels": panels,
        "streams": [_stream(episode, name) for name in episode.streams],
        "marks": [
            {
                "kind": mark.kind,
                "stream": mark.stream,
                "start_s": (mark.start_ns - start_ns) / 1e9,
                "stop_s": (mark.stop_ns - start_ns) / 1e9,
                "text": mark.text,
            }
            for mark in marked[:MOST_MARKS]
        ],
        "notes": list(notes),
    }


def facts(episode: Episode) -> list[tuple[str, str]]:
    """Return what is known of an episode as a whole, as name and text."""
    lost = sum(episode.lost(name) for name in episode.streams)
    messages = sum(episode.count(name) for name in episode.streams)
    hottest = episode.max_winding_c
    began = datetime.fromtimestamp(episode.span_ns[0] / 1e9, UTC)
    out = [
        ("Robot", episode.robot or "unknown"),
        ("Recorded", f"{began:%Y-%m-%d %H:%M:%S} UTC"),
        ("Duration", f"{episode.duration_s:.2f} s"),
        ("Ended by", episode.reason),
        ("Lost", f"{lost} of {messages + lost} messages" if lost else "nothing"),
        ("Hottest winding", "unknown" if hottest is None else f"{hottest:.1f} °C"),
        ("Size", size(episode.nbytes)),
    ]
    latencies = {name: ns for name, ns in episode.edits.latency_ns.items() if name in episode.image_streams}
    out += [(f"Latency of {name}", f"{ns / 1e6:.1f} ms") for name, ns in latencies.items()]
    others = {k: v for k, v in episode.attributes.items() if k not in KNOWN + INTERNAL}
    software = episode.attributes.get("software")
    if isinstance(software, Mapping):
        out.append(("Software", ", ".join(f"{name} {version}" for name, version in software.items())))
    for key, value in others.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        out.append((key.replace("_", " "), text if len(text) <= 200 else text[:199] + "…"))
    return out


def _stream(episode: Episode, name: str) -> Mapping[str, Any]:
    """Return a row of the table of streams."""
    report = stream_report(episode, name)
    return {
        "name": name,
        "what": episode.streams[name].summary,
        "count": report.count,
        "lost": report.lost,
        "rate_hz": report.rate_hz if np.isfinite(report.rate_hz) else None,
        "nominal_hz": report.nominal_hz,
        "longest_gap_s": report.longest_gap_s,
        "picture": name in episode.image_streams,
    }


def _thin_note(name: str, table: Table) -> str:
    return f"{name}: its curves show the least and the greatest of every {table.rows_per_pair} rows"


def _opening(episode: Episode) -> bytes:
    """Return the page up to its data."""
    style, script = (asset(name) for name in ("page.css", "page.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{source_hash(script)}'",
            f"style-src '{source_hash(style)}'",
            "media-src blob:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    # The title comes last: it is the only one that others wrote.
    words = {"POLICY": policy, "STYLE": style, "TITLE": html.escape(_title(episode))}
    text = asset("page.html").split("<!-- DATA -->")[0]
    for word, value in words.items():
        text = text.replace(f"{{{{{word}}}}}", value)
    return text.encode(errors="replace")


def _closing(content: Mapping[str, Any]) -> bytes:
    """Return the page from its JSON on."""
    text = asset("page.html").split("<!-- DATA -->")[1]
    # Inside <script>, only "<" could end the element early.
    told = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    data = f'<script type="application/json" id="content">{told}</script>\n'
    # An attribute's lone surrogate cannot be written as UTF-8.
    return (data + text.replace("{{SCRIPT}}", asset("page.js"))).encode(errors="replace")


def _title(episode: Episode) -> str:
    return f"episode {episode.index}" + (f" · {episode.task}" if episode.task else "") + " · waldo"


def asset(name: str) -> str:
    """Return a file that stands beside this one."""
    return (HERE / name).read_text()


def source_hash(text: str) -> str:
    """Return the source expression that lets an inline script or style run (CSP level 2, hash-source)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write_data(file: BinaryIO, name: str, data: bytes) -> None:
    """Write bytes as an element that browsers do not look into."""
    file.write(f'<script type="text/plain" id="{name}">\n'.encode())
    for line in _lines(data):
        file.write(line)
        file.write(b"\n")
    file.write(b"</script>\n")


def _lines(data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for first in range(0, len(view), LINE_BYTES):
        yield base64.b64encode(view[first : first + LINE_BYTES])
