"""An episode in Rerun's viewer: frames as recorded, curves, winding limits, and losses and events as a log.

There are two timelines: `header`, the publisher's stamps (exposure times for a camera with a calibrated latency), and
`receipt`, the recorder's stamps.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.quality.check import WINDING
from waldo.datasets.schema import MOTORS
from waldo.datasets.streams import DepthStream, ImageStream, ScalarStream
from waldo.datasets.view import marks
from waldo.datasets.view.browser_video import browser_video
from waldo.datasets.view.facts import facts
from waldo.errors import FileError, WaldoError
from waldo.files import atomic_file

APPLICATION = "waldo"
"""Rerun's application id."""

FRAMES_AT_ONCE = 30
"""Number of frames that are sent at a time."""

LOOPBACK = "127.0.0.1"
"""Interface of the servers."""

type Advance = Callable[[int, int], None]
"""Called with the number of finished streams and the total."""


class ViewerError(WaldoError):
    """Rerun's viewer cannot be started."""

    def __init__(self, reason: str) -> None:
        """Build the message from the reason."""
        do = "write a page with --html FILE, or serve the viewer to a browser with --web"
        super().__init__(f"Rerun's viewer does not start ({reason}); {do}")


def save(episode: Episode, out: Path, advance: Advance | None = None) -> None:
    """Write an episode atomically as a Rerun recording.

    Raises:
        FileError: If the file cannot be written.
    """
    if out.is_dir() or not out.absolute().parent.is_dir():
        found = "is a folder" if out.is_dir() else "the folder of this file does not exist"
        raise FileError(out, found, "choose a file in an existing folder")
    recording = _recording(episode)
    with atomic_file(out.absolute()) as partial:
        recording.save(partial)
        log_episode(episode, recording, advance)
        recording.flush()
        recording.disconnect()


def spawn(episode: Episode) -> None:
    """Open Rerun's viewer and show the episode in it."""
    import rerun as rr

    recording = _recording(episode)
    # The viewer is installed beside this Python; that folder may not be in PATH.
    viewer = Path(sys.executable).with_name("rerun")
    try:
        rr.spawn(executable_path=str(viewer) if viewer.exists() else None, recording=recording)
    except RuntimeError as error:
        raise ViewerError(str(error).strip()) from error
    log_episode(episode, recording)
    recording.flush()


def serve(episode: Episode, started: Callable[[str], None] = lambda url: None) -> None:
    """Serve Rerun's viewer to a browser on this machine until SIGINT.

    Both servers listen on the loopback interface only: Rerun's have no password.

    Args:
        episode: The episode.
        started: Called with the address of the page.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episode.rrd"
        save(episode, path)
        data, web = free_ports(2)
        command = [sys.executable, "-m", "rerun", str(path), "--serve-web", "--bind", LOOPBACK, "--port", str(data)]
        command += ["--web-viewer-port", str(web), "--server-memory-limit", "50%"]
        # A session of its own, so that the viewer that Rerun's launcher starts can be stopped with it.
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            source = quote(f"rerun+http://{LOOPBACK}:{data}/proxy", safe="")
            started(f"http://{LOOPBACK}:{web}?url={source}")
            if process.wait():
                raise ViewerError(f"its server ended with code {process.returncode}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it has nothing to save
            process.wait()


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback interface that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def log_episode(episode: Episode, recording: Any, advance: Advance | None = None) -> None:
    """Send an episode to a Rerun recording."""
    import rerun as rr

    for done, (name, stream) in enumerate(episode.streams.items()):
        if advance is not None:
            advance(done, len(episode.streams))
        if not episode.count(name):
            continue
        if isinstance(stream, ScalarStream):
            _log_rows(episode, stream, recording)
        else:
            _log_images(episode, stream, recording)
    if advance is not None:
        advance(len(episode.streams), len(episode.streams))
    _log_limits(episode, recording)
    _log_marks(episode, recording)
    recording.log("episode", rr.TextDocument(_describe(episode), media_type="text/markdown"), static=True)
    recording.send_blueprint(_blueprint(episode))


def _recording(episode: Episode) -> Any:
    import rerun as rr

    name = f"{episode.path.absolute().parent.name}-{episode.index}"
    recording: Any = rr.RecordingStream(APPLICATION, recording_id=f"{name}-{episode.span_ns[0]}")
    recording.send_recording_name(f"{name} {episode.task}".strip())
    return recording


def _times(episode: Episode, name: str, chosen: slice = slice(None)) -> list[Any]:
    """Return both timelines of the rows or frames of a stream."""
    import rerun as rr

    both = {"header": episode.capture_ns(name), "receipt": episode.time_ns(name, "receipt")}
    return [
        rr.TimeColumn(timeline, timestamp=stamps[chosen].astype("datetime64[ns]")) for timeline, stamps in both.items()
    ]


def _log_rows(episode: Episode, stream: ScalarStream, recording: Any) -> None:
    """Send a scalar stream: one entity per field and label, such as `joints/state/position/elbow_flex`."""
    import rerun as rr

    times = _times(episode, stream.name)
    for field in stream.fields:
        values = episode.values(stream.name, field.name)
        for column, label in enumerate(field.labels):
            entity = _path(stream.name, field.name, label)
            recording.log(entity, rr.SeriesLines(names=f"{label} [{field.unit}]"), static=True)
            recording.send_columns(entity, indexes=times, columns=rr.Scalars.columns(scalars=values[:, column]))


def _log_images(episode: Episode, stream: ImageStream, recording: Any) -> None:
    """Send a camera: H.264 as an MP4 with a reference per stamp, JPEG and depth as recorded."""
    if isinstance(stream, DepthStream):
        _log_depth(episode, stream, recording)
    elif stream.codec == "jpeg":
        _log_jpegs(episode, stream, recording)
    else:
        _log_video(episode, stream, recording)


def _log_video(episode: Episode, stream: ImageStream, recording: Any) -> None:
    import rerun as rr

    entity = _path(stream.name)
    video = rr.AssetVideo(contents=browser_video(episode, stream.name).data, media_type="video/mp4")
    recording.log(entity, video, static=True)
    shown: NDArray[np.int64] = np.asarray(video.read_frame_timestamps_nanos(), np.int64)
    references = rr.VideoFrameReference.columns_nanos(shown)
    recording.send_columns(entity, indexes=_times(episode, stream.name), columns=references)


def _log_jpegs(episode: Episode, stream: ImageStream, recording: Any) -> None:
    import rerun as rr

    shard = episode.shard(stream.name)
    for part in _parts(shard.frames):
        blobs = [np.frombuffer(shard.chunk(index), np.uint8) for index in range(part.start, part.stop)]
        columns = rr.EncodedImage.columns(blob=blobs, media_type=["image/jpeg"] * len(blobs))
        recording.send_columns(_path(stream.name), indexes=_times(episode, stream.name, part), columns=columns)


def _log_depth(episode: Episode, stream: DepthStream, recording: Any) -> None:
    import rerun as rr

    entity, shard = _path(stream.name), episode.shard(stream.name)
    shape = rr.components.ImageFormat(width=stream.width, height=stream.height, channel_datatype=rr.ChannelDatatype.U16)
    recording.log(entity, rr.DepthImage.from_fields(format=shape, meter=1 / stream.unit_m), static=True)
    for part in _parts(shard.frames):
        images = shard.read(range(part.start, part.stop))
        columns = rr.DepthImage.columns(buffer=[image.reshape(-1).view(np.uint8) for image in images])
        recording.send_columns(entity, indexes=_times(episode, stream.name, part), columns=columns)


def _log_limits(episode: Episode, recording: Any) -> None:
    """Send the winding limits as lines over the whole episode."""
    import rerun as rr

    if MOTORS not in episode.streams or not episode.count(MOTORS):
        return
    ends = slice(None, None, max(episode.count(MOTORS) - 1, 1))
    times = _times(episode, MOTORS, ends)
    rows = len(episode.time_ns(MOTORS)[ends])
    for limit in sorted(set(marks.winding_limits_c(episode).values())):
        entity = _path(MOTORS, WINDING, f"limit {limit:g}")
        style = rr.SeriesLines(names=f"limit {limit:g} °C", colors=[220, 60, 40], widths=2.0)
        recording.log(entity, style, static=True)
        recording.send_columns(entity, indexes=times, columns=rr.Scalars.columns(scalars=np.full(rows, limit)))


def _log_marks(episode: Episode, recording: Any) -> None:
    """Send the marks as a log."""
    import rerun as rr

    found = marks.find_marks(episode)
    if not found:
        return
    levels = {"lost": "ERROR", "heat": "WARN", "frozen": "WARN", "gap": "WARN", "event": "INFO"}
    # A mark has one stamp, which is used on both timelines.
    stamps = np.array([mark.start_ns for mark in found], "datetime64[ns]")
    texts = [f"{mark.stream}: {mark.text}" if mark.stream else mark.text for mark in found]
    recording.send_columns(
        "log",
        indexes=[rr.TimeColumn("header", timestamp=stamps), rr.TimeColumn("receipt", timestamp=stamps)],
        columns=rr.TextLog.columns(text=texts, level=[levels[mark.kind] for mark in found]),
    )


def _describe(episode: Episode) -> str:
    """Return the facts about the episode as a Markdown table."""
    rows = [("Task", episode.task), ("Outcome", episode.outcome), *facts(episode)]
    # Tasks and attributes are untrusted text: no markup, no links.
    lines = [f"| {name} | {_plain(value)} |" for name, value in rows]
    return "\n".join([f"# Episode {episode.index}", "", "| | |", "|---|---|", *lines])


def _plain(text: str) -> str:
    """Return text escaped for Markdown, on one line."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|~" else c for c in " ".join(text.split()))


def _blueprint(episode: Episode) -> Any:
    """Return the layout: cameras above; curves, log and facts below."""
    import rerun.blueprint as rrb

    images = [rrb.Spatial2DView(origin=_path(name), name=name) for name in episode.image_streams]
    plots: list[Any] = []
    for name, stream in episode.streams.items():
        if isinstance(stream, ScalarStream):
            plots += [
                rrb.TimeSeriesView(origin=_path(name, f.name), name=f"{name} {f.name} [{f.unit}]")
                for f in stream.fields
            ]
    below = rrb.Tabs(
        rrb.Grid(*plots, name="curves"),
        rrb.TextLogView(origin="log", name="losses and events"),
        rrb.TextDocumentView(origin="episode", name="episode"),
    )
    parts = ([rrb.Horizontal(*images)] if images else []) + [below]
    return rrb.Blueprint(rrb.Vertical(*parts), collapse_panels=True)


def _path(stream: str, *parts: str) -> str:
    """Return the path of an entity; every label is one part of it."""
    import rerun as rr

    return "/".join([stream, *(rr.escape_entity_path_part(part) for part in parts)])


def _parts(count: int) -> Iterator[slice]:
    """Yield slices of at most `FRAMES_AT_ONCE` frames."""
    for first in range(0, count, FRAMES_AT_ONCE):
        yield slice(first, min(first + FRAMES_AT_ONCE, count))
