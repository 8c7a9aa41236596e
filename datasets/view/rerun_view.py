"""An episode in Rerun's viewer: pictures as they are stored, curves, limits of heat, losses and events as a log.

Two timelines: `header`, the publisher's stamps (for a camera with a calibrated latency, the instant of the light), and
`receipt`, the recorder's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo import console
from waldo.datasets.episode import Episode
from waldo.datasets.streams import DepthStream, ImageStream, ScalarStream
from waldo.datasets.view import marks
from waldo.datasets.view.browser_video import browser_video
from waldo.errors import FileError, InvalidValueError

APPLICATION = "waldo"
"""What Rerun calls the recordings."""

AT_ONCE = 30
"""Pictures that are sent at a time."""

type Advance = Callable[[int, int], None]
"""Hears how many of how many streams are done."""


def save(episode: Episode, out: Path, advance: Advance | None = None) -> None:
    """Write an episode as a Rerun recording; the file is there when it is whole."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        why = "is a folder" if out.is_dir() else "its folder does not exist"
        raise FileError(out, why, "name the file that the recording is to be written to")
    recording = _recording(episode)
    temporary = out.with_name(out.name + ".part")
    try:
        recording.save(temporary)
        log_episode(episode, recording, advance)
        recording.flush()
        recording.disconnect()
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def spawn(episode: Episode) -> None:
    """Open Rerun's viewer and show the episode in it."""
    import rerun as rr

    recording = _recording(episode)
    # Beside this Python, where it was installed; that folder need not be in PATH.
    viewer = Path(sys.executable).with_name("rerun")
    try:
        rr.spawn(executable_path=str(viewer) if viewer.exists() else None, recording=recording)
    except RuntimeError as error:
        do = "write a page with --html FILE, or serve the viewer to a browser with --web"
        raise InvalidValueError(
            "Rerun's viewer", "not to be started", f"one that starts ({str(error).strip()})", do
        ) from error
    log_episode(episode, recording)
    recording.flush()


def serve(episode: Episode) -> None:
    """Serve Rerun's viewer to a browser on this machine until SIGINT."""
    import rerun as rr

    recording = _recording(episode)
    url = recording.serve_grpc(server_memory_limit="50%")
    log_episode(episode, recording)
    rr.serve_web_viewer(connect_to=url)
    console.err().print("the viewer is served on this machine; Ctrl-C ends it")
    threading.Event().wait()


def log_episode(episode: Episode, recording: Any, advance: Advance | None = None) -> None:
    """Send everything about an episode to a Rerun recording."""
    import rerun as rr

    for done, (name, stream) in enumerate(episode.streams.items()):
        if advance is not None:
            advance(done, len(episode.streams))
        if not episode.count(name):
            continue
        if isinstance(stream, ScalarStream):
            _log_rows(episode, stream, recording)
        else:
            _log_pictures(episode, stream, recording)
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
    """Return both timelines of a stream's rows or frames."""
    import rerun as rr

    both = {"header": episode.capture_ns(name), "receipt": episode.time_ns(name, "receipt")}
    return [
        rr.TimeColumn(timeline, timestamp=stamps[chosen].astype("datetime64[ns]")) for timeline, stamps in both.items()
    ]


def _log_rows(episode: Episode, stream: ScalarStream, recording: Any) -> None:
    """Send a scalar stream: an entity a field and label, `joints/state/position/elbow_flex`."""
    import rerun as rr

    times = _times(episode, stream.name)
    for field in stream.fields:
        values = episode.values(stream.name, field.name)
        for column, label in enumerate(field.labels):
            entity = _path(stream.name, field.name, label)
            recording.log(entity, rr.SeriesLines(names=f"{label} [{field.unit}]"), static=True)
            recording.send_columns(entity, indexes=times, columns=rr.Scalars.columns(scalars=values[:, column]))


def _log_pictures(episode: Episode, stream: ImageStream, recording: Any) -> None:
    """Send a camera: H.264 as its MP4 with a reference for each stamp, JPEG as it came, depth as it is."""
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
    """Send the limits of the windings as lines over the whole episode."""
    import rerun as rr

    if "motors" not in episode.streams or not episode.count("motors"):
        return
    ends = slice(None, None, max(episode.count("motors") - 1, 1))
    times = _times(episode, "motors", ends)
    count = len(episode.time_ns("motors")[ends])
    for limit in sorted(set(marks.winding_limits_c(episode).values())):
        entity = _path("motors", "winding", f"limit {limit:g}")
        style = rr.SeriesLines(names=f"limit {limit:g} °C", colors=[220, 60, 40], widths=2.0)
        recording.log(entity, style, static=True)
        recording.send_columns(entity, indexes=times, columns=rr.Scalars.columns(scalars=np.full(count, limit)))


def _log_marks(episode: Episode, recording: Any) -> None:
    """Send losses, gaps, frozen pictures, hot windings and events as a log."""
    import rerun as rr

    found = marks.find_marks(episode)
    if not found:
        return
    levels = {"lost": "ERROR", "heat": "WARN", "frozen": "WARN", "gap": "WARN", "event": "INFO"}
    # A mark has one instant; on the recorder's timeline it stands at the same one.
    stamps = np.array([mark.start_ns for mark in found], "datetime64[ns]")
    texts = [f"{mark.stream}: {mark.text}" if mark.stream else mark.text for mark in found]
    recording.send_columns(
        "log",
        indexes=[rr.TimeColumn("header", timestamp=stamps), rr.TimeColumn("receipt", timestamp=stamps)],
        columns=rr.TextLog.columns(text=texts, level=[levels[mark.kind] for mark in found]),
    )


def _describe(episode: Episode) -> str:
    """Return what is known of the episode as a table."""
    from waldo.datasets.view.page import facts

    rows = [("Task", episode.task), ("Outcome", episode.outcome), *facts(episode)]
    # Whoever wrote a task or an attribute writes no markup and no link.
    lines = [f"| {name} | {_plain(value)} |" for name, value in rows]
    return "\n".join([f"# Episode {episode.index}", "", "| | |", "|---|---|", *lines])


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|~" else c for c in " ".join(text.split()))


def _blueprint(episode: Episode) -> Any:
    """Return the layout: cameras above, curves and the log below."""
    import rerun.blueprint as rrb

    pictures = [rrb.Spatial2DView(origin=_path(name), name=name) for name in episode.image_streams]
    plots: list[Any] = []
    for name, stream in episode.streams.items():
        if isinstance(stream, ScalarStream):
            plots += [
                rrb.TimeSeriesView(origin=_path(name, f.name), name=f"{name} {f.name} [{f.unit}]")
                for f in stream.fields
            ]
    below = rrb.Tabs(
        rrb.Grid(*plots, name="curves"),
        rrb.TextLogView(origin="log", name="what happened"),
        rrb.TextDocumentView(origin="episode", name="episode"),
    )
    parts = ([rrb.Horizontal(*pictures)] if pictures else []) + [below]
    return rrb.Blueprint(rrb.Vertical(*parts), collapse_panels=True)


def _path(stream: str, *parts: str) -> str:
    """Return the path of an entity; what stands in a label is one part of it."""
    import rerun as rr

    return "/".join([stream, *(rr.escape_entity_path_part(part) for part in parts)])


def _parts(count: int) -> Iterator[slice]:
    """Yield runs of at most `AT_ONCE` pictures."""
    for first in range(0, count, AT_ONCE):
        yield slice(first, min(first + AT_ONCE, count))
