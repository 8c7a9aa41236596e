import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pytest

from waldo.datasets.episode import Episode
from waldo.datasets.streams import DepthStream, VideoStream
from waldo.datasets.view import rerun_view
from waldo.errors import FileError


def read(path: Path) -> Mapping[str, pa.Table]:
    """Return the contents of a recording over time: entity -> rows."""
    from rerun.chunk import RrdReader

    parts: dict[str, list[pa.RecordBatch]] = {}
    for chunk in RrdReader(path).stream():
        if not chunk.is_static:
            parts.setdefault(chunk.entity_path, []).append(chunk.to_record_batch())
    tables = {name: pa.concat_tables([pa.Table.from_batches([b]) for b in found]) for name, found in parts.items()}
    return {name: table.sort_by("header") for name, table in tables.items()}


def static(path: Path, entity: str, column: str) -> Any:
    """Return a static value of an entity."""
    from rerun.chunk import RrdReader

    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        if chunk.is_static and chunk.entity_path == entity and column in batch.schema.names:
            return batch.column(column)[0].as_py()[0]
    raise KeyError(column)


def stamps(table: pa.Table, timeline: str) -> np.ndarray:
    return np.array(table[timeline].cast(pa.int64()))


@pytest.fixture
def saved(record, script, tmp_path) -> tuple[Episode, Path]:
    """An episode with lost frames and a calibrated camera, and its recording."""
    dataset = record(script(without_frames={"cameras/front": {10, 11}}, late_ns=2_000_000))
    dataset.set_latency({"cameras/front": 30_000_000})
    episode = dataset.episodes[0]
    rerun_view.save(episode, tmp_path / "episode.rrd")
    return episode, tmp_path / "episode.rrd"


def test_curves_are_the_recorded_values(saved) -> None:
    episode, path = saved
    tables = read(path)
    for column, label in enumerate(("hip", "knee", "claw")):
        table = tables[f"/joints/state/position/{label}"]
        values = np.array([value.as_py()[0] for value in table["Scalars:scalars"]])
        np.testing.assert_array_equal(values, episode.values("joints/state", "position")[:, column])
        np.testing.assert_array_equal(stamps(table, "header"), episode.time_ns("joints/state"))
        np.testing.assert_array_equal(stamps(table, "receipt"), episode.time_ns("joints/state", "receipt"))


def test_video_is_the_recorded_file_with_a_stamp_per_frame(saved) -> None:
    episode, path = saved
    table = read(path)["/cameras/front"]
    # Exposure times, before and after the lost frames.
    np.testing.assert_array_equal(stamps(table, "header"), episode.time_ns("cameras/front") - 30_000_000)
    shown = np.array([value.as_py()[0] for value in table["VideoFrameReference:timestamp"]])
    np.testing.assert_allclose(shown, np.arange(28) * 1e9 / 30, atol=1)
    blob = static(path, "/cameras/front", "AssetVideo:blob")
    assert bytes(blob) == episode.video_path("cameras/front").read_bytes()


def test_losses_are_in_the_log(saved) -> None:
    _, path = saved
    log = read(path)["/log"]
    (row,) = [i for i, text in enumerate(log["TextLog:text"]) if "cameras/front" in text.as_py()[0]]
    assert log["TextLog:text"][row].as_py() == ["cameras/front: 2 frames lost, gap of 100 ms"]
    assert log["TextLog:level"][row].as_py() == ["ERROR"]
    assert [one.name for one in path.parent.iterdir() if one.is_file()] == [path.name]


def test_jpegs_and_depth_are_the_recorded_ones(locked, make_image, tmp_path) -> None:
    streams = [
        VideoStream(name="cameras/front", width=64, height=48, rate_hz=30.0, codec="jpeg"),
        DepthStream(name="depth/front", width=20, height=16, rate_hz=30.0, unit_m=0.001),
    ]
    depth = np.random.default_rng(0).integers(0, 2**16, (40, 16, 20), dtype=np.uint16)
    with locked.begin(streams, {}, back_pressure="wait") as writer:
        for number in range(40):
            kw = {"header_ns": 10**18 + number, "receipt_ns": 10**18 + number, "sequence": number}
            writer.frame("cameras/front", image=make_image(number), **kw)
            writer.frame("depth/front", image=depth[number], **kw)
        writer.save("success")
    episode = locked.episodes[0]
    rerun_view.save(episode, tmp_path / "episode.rrd")
    tables = read(tmp_path / "episode.rrd")
    shard = episode.shard("cameras/front")
    blobs = [bytes(value.as_py()[0]) for value in tables["/cameras/front"]["EncodedImage:blob"]]
    assert blobs == [shard.chunk(number) for number in range(40)]
    found = [np.array(value.as_py()[0], np.uint8) for value in tables["/depth/front"]["DepthImage:buffer"]]
    np.testing.assert_array_equal(np.stack(found).view("<u2").reshape(depth.shape), depth)
    assert static(tmp_path / "episode.rrd", "/depth/front", "DepthImage:meter") == 1000.0


def test_a_recording_cannot_be_a_folder(episode, tmp_path) -> None:
    with pytest.raises(FileError, match=r"is a folder; choose a file"):
        rerun_view.save(episode, tmp_path)


def test_the_viewer_is_served_on_the_loopback_interface_only(episode: Episode) -> None:
    code = "from waldo.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "view", str(episode.path.parent), "--web"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("viewer: "))
        address = line.removeprefix("viewer: ").strip()
        port = urlsplit(address).port
        assert address.startswith(f"http://127.0.0.1:{port}?url=rerun%2Bhttp%3A%2F%2F127.0.0.1%3A")
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(address, timeout=10) as page:
                    assert b"rerun" in page.read().lower()
                break
            except URLError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    with pytest.raises(OSError, match="refused"):  # nothing of the viewer is left
        socket.create_connection(("127.0.0.1", port), timeout=5)
