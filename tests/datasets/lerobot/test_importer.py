import json
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot import layout
from waldo.datasets.lerobot.columns import labels_of
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Selection
from waldo.datasets.video import h264
from waldo.datasets.video.encoder import encode_frames
from waldo.datasets.video.mp4shard import write_mp4
from waldo.errors import FileError

pytestmark = pytest.mark.usefixtures("no_sync")

ALL = LeRobotConfig(selection=Selection())
NOMINAL_NOTE = "LeRobot has no capture times: stamps are counted at 30 Hz from 2000-01-01 (clock: nominal)."


def take(source, target, **settings):
    return import_dataset(source, target, ImportConfig(**settings))


def table(root):
    return pa.concat_tables([pq.read_table(path) for path in sorted(root.glob("data/*/*.parquet"))])


def rows(episode, stream, field="value"):
    return episode.values(stream, field)


def test_an_export_of_waldo_can_be_imported_and_exported_unchanged(record, script, tmp_path):
    dataset = record(script(seconds=0.5), script(seed=1, task="put it down", seconds=0.3), script(seed=2, seconds=0.4))
    export_dataset(dataset, tmp_path / "one", LeRobotConfig())
    result = take(tmp_path / "one", tmp_path / "back")
    assert (result.episodes, result.skipped, result.encoded) == (3, {}, 0)
    assert result.copied == 2 * (15 + 9 + 12)
    assert result.notes == [
        NOMINAL_NOTE,
        "telemetry.staleness is kept as a stream; another export computes it again from the nominal clock.",
    ]
    back = Dataset.open(tmp_path / "back")
    assert back.robot == "tiny"
    for before, after in zip(dataset.episodes, back.episodes, strict=True):
        assert after.task == before.task
        assert (after.outcome, after.reason) == ("success", "imported")
        for camera in ("cameras/front", "cameras/wrist"):
            assert after.streams[camera] == before.streams[camera]
            assert np.array_equal(after.frames(camera), before.frames(camera))
            assert after.image_statistics(camera)["mean"].shape == (3,)
        assert after.field("joints/state", "position") == before.field("joints/state", "position")
        assert after.field("motors", "winding").unit == "°C"
        assert np.array_equal(after.time_ns("cameras/front"), after.time_ns("joints/state"))
    export_dataset(back, tmp_path / "two", ALL)
    one, two = table(tmp_path / "one"), table(tmp_path / "two")
    assert one.column_names == two.column_names
    for name in one.column_names:
        same = one[name].equals(two[name]) or str(one[name].to_pylist()) == str(two[name].to_pylist())
        assert same or name == "telemetry.staleness", name
    third = take(tmp_path / "two", tmp_path / "third")
    assert third.rows == result.rows
    for before, after in zip(dataset.episodes, Dataset.open(tmp_path / "third").episodes, strict=True):
        assert np.array_equal(after.frames("cameras/front"), before.frames("cameras/front"))


def test_units_survive_export_and_import(tmp_path):
    joints, every = ("hip", "knee"), schema.recorded_quantities()
    streams = [schema.joint_stream(name, 30.0, joints) for name in (schema.STATE, schema.COMMAND, schema.APPLIED)]
    streams.append(schema.motors_stream(30.0, joints))
    dataset = Dataset.create(tmp_path / "d", robot="tiny")
    with dataset.lock():
        writer = dataset.begin(streams, {"task": "t"})
        for tick in range(30):
            for stream in streams:
                values = {field.name: np.full(2, tick / 7) for field in stream.fields}
                writer.row(stream.name, values=values, header_ns=round(tick * 1e9 / 30), receipt_ns=0, sequence=tick)
        writer.save("success")
    export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    take(tmp_path / "out", tmp_path / "back")
    before, after = dataset.episodes[0], Dataset.open(tmp_path / "back").episodes[0]
    assert {"winding_std", "derate"} < {quantity.recorded for quantity in every}
    for quantity in every:
        if quantity.exported:
            assert after.field("motors", quantity.recorded).unit == quantity.unit
    for stream in (schema.STATE, schema.COMMAND, schema.APPLIED):
        assert after.streams[stream] == before.streams[stream]


def test_dropped_frames_and_applied_commands(record, script, tmp_path):
    """Groups that the export encoded again are copied: none is decoded a second time."""
    dataset = record(script(without_frames={"cameras/wrist": [11, 12]}))
    export_dataset(dataset, tmp_path / "one", LeRobotConfig(rows=RowConfig(action="sent")))
    result = take(tmp_path / "one", tmp_path / "back")
    assert (result.copied, result.encoded) == (60, 0)
    after = Dataset.open(tmp_path / "back").episodes[0]
    assert set(after.streams) >= {"joints/command", "joints/sent"}
    sent = dataset.episodes[0].values("joints/sent", "position")[::2]
    assert np.array_equal(after.values("joints/sent", "position"), sent)
    export_dataset(
        Dataset.open(tmp_path / "back"),
        tmp_path / "two",
        LeRobotConfig(rows=RowConfig(action="sent"), selection=Selection()),
    )
    assert table(tmp_path / "one")["action"].equals(table(tmp_path / "two")["action"])
    again = take(tmp_path / "two", tmp_path / "third")
    assert (again.copied, again.encoded) == (60, 0)
    third = Dataset.open(tmp_path / "third").episodes[0]
    assert np.array_equal(third.frames("cameras/wrist"), after.frames("cameras/wrist"))


# datasets written by LeRobot


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
    "action": {"dtype": "float32", "shape": (3,), "names": {"motors": ["a", "b", "c"]}},
    "observation.images.front": {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "observation.images.still": {"dtype": "image", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    "matrix": {"dtype": "float64", "shape": (2, 2), "names": None},
    "count": {"dtype": "int64", "shape": (1,), "names": None},
    "word": {"dtype": "string", "shape": (1,), "names": None},
}


def shown(episode, number):
    """Return an image that is unique to an episode and frame number."""
    out = np.full((48, 64, 3), 40 + 60 * episode, np.uint8)
    out[4:44, 2 * number : 2 * number + 8] = (250, 250, 30)
    return out


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Datasets of three episodes written by LeRobot: AV1, its default, and H.264."""
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets import LeRobotDataset

    root = tmp_path_factory.mktemp("lerobot")
    ways = {"av1": {}, "h264": {"streaming_encoding": True, "rgb_encoder": RGBEncoderConfig(vcodec="h264")}}
    for name, how in ways.items():
        dataset = LeRobotDataset.create(f"local/{name}", 30, FEATURES, root=root / name, robot_type="so100", **how)
        for episode in range(3):
            for number in range(9 + episode):
                dataset.add_frame(
                    {
                        "observation.state": np.array([number, episode, 0.1], np.float32),
                        "action": np.array([number + 1, episode, 0.1], np.float32),
                        "observation.images.front": shown(episode, number),
                        "observation.images.still": shown(episode, number),
                        "next.success": np.array([episode != 1 and number == 8 + episode]),
                        "matrix": np.arange(4.0).reshape(2, 2) + number / 3,
                        "count": np.array([number]),
                        "word": "hello",
                        "task": f"task {episode % 2}",
                    }
                )
            dataset.save_episode()
        dataset.finalize()
    return root


@pytest.mark.parametrize("kind", ["av1", "h264"])
def test_a_dataset_written_by_lerobot(written, tmp_path, kind):
    result = take(written / kind, tmp_path / "d")
    assert (result.episodes, result.skipped) == (3, {})
    video_frames = 9 + 10 + 11
    assert (result.copied, result.encoded) == ((video_frames, video_frames) if kind == "h264" else (0, 60))
    losses = [note for note in result.notes if "PSNR" in note]
    assert result.notes[: len(result.notes) - len(losses)] == [
        NOMINAL_NOTE,
        "LeRobot has no units: positions and commands are kept unchanged, without a unit.",
        "Not imported: text columns (word).",
        "matrix: rows of shape (2, 2) are kept as lists.",
    ]
    assert [
        note.startswith("cameras/front: converted from av1; PSNR over a few frames per episode: ") for note in losses
    ] == ([True] if kind == "av1" else [])
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.robot == "so100"
    assert [episode.outcome for episode in dataset.episodes] == ["success", "failure", "success"]
    assert [episode.task for episode in dataset.episodes] == ["task 0", "task 1", "task 0"]
    assert sum(report.problems for report in check_dataset(dataset)) == 0
    for number, episode in enumerate(dataset.episodes):
        count = 9 + number
        state = rows(episode, "joints/state", "position")
        assert np.array_equal(state, [np.array([k, number, 0.1], np.float32) for k in range(count)])
        assert episode.field("joints/command", "position").labels == ("a", "b", "c")
        assert episode.field("joints/state", "position").unit == ""
        assert rows(episode, "count").tolist() == [[k] for k in range(count)]
        assert np.array_equal(rows(episode, "matrix"), [np.arange(4.0) + k / 3 for k in range(count)])
        assert episode.field("matrix", "value").labels == ("matrix.0.0", "matrix.0.1", "matrix.1.0", "matrix.1.1")
        assert rows(episode, "next.success")[-1] == (number != 1)
        wanted = np.stack([shown(number, k) for k in range(count)])
        assert np.array_equal(episode.frames("cameras/still"), wanted)
        assert np.abs(episode.frames("cameras/front").astype(int) - wanted).mean() < 8
        assert episode.attributes["clock"] == "nominal"
        assert episode.time_ns("joints/state")[:2].tolist() == [946_684_800_000_000_000, 946_684_800_033_333_333]
        assert (episode.sequence("joints/state") == -1).all()


def test_copied_video_matches_lerobots_reader(written, tmp_path):
    from lerobot.datasets import LeRobotDataset

    take(written / "h264", tmp_path / "d")
    read = LeRobotDataset("local/h264", root=written / "h264", return_uint8=True)
    frames = Dataset.open(tmp_path / "d").episodes[1].frames("cameras/front")
    for row in (0, 4, 9):
        theirs = read[9 + row]["observation.images.front"].permute(1, 2, 0).numpy()
        # The same decoder; the conversion to RGB rounds differently.
        assert np.abs(frames[row].astype(int) - theirs).max() <= 3


# v2.1, as documented


def write_v21(root, *, episodes=2, length=7, codec="h264", images=False):
    """Write a LeRobot dataset v2.1: a Parquet file and an MP4 per episode, tables as JSON lines."""
    (root / "meta").mkdir(parents=True)
    camera = {"dtype": "image" if images else "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": ["x", "x"]},
        "observation.images.top": camera,
    }
    own = {name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "koch",
        "fps": 30,
        "chunks_size": 1000,
        "features": features | {"timestamp": {"dtype": "float32", "shape": [1]}} | own,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [{"episode_index": k, "tasks": [f"task {k}"], "length": length} for k in range(episodes)]
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    stats = [{"episode_index": k, "stats": {"action": {"min": [0], "max": [1]}}} for k in range(episodes)]
    (root / "meta" / "episodes_stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stats))
    tasks = [{"task_index": k, "task": f"task {k}"} for k in range(episodes)]
    (root / "meta" / "tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tasks))
    for k in range(episodes):
        frames = [shown(k, number) for number in range(length)]
        columns = {
            "observation.state": [[float(n), float(k)] for n in range(length)],
            "action": [[float(n + 1), float(k)] for n in range(length)],
            "timestamp": pa.array([n / 30 for n in range(length)], pa.float32()),
            "frame_index": list(range(length)),
            "episode_index": [k] * length,
            "index": [k * length + n for n in range(length)],
            "task_index": [k] * length,
        }
        if images:
            cells = [{"bytes": None, "path": f"images/top/{k}_{n}.png"} for n in range(length)]
            columns["observation.images.top"] = cells
            (root / "images" / "top").mkdir(parents=True, exist_ok=True)
            for n, image in enumerate(frames):
                cv2.imwrite(str(root / "images" / "top" / f"{k}_{n}.png"), image[..., ::-1])
        else:
            path = root / info["video_path"].format(
                episode_chunk=0, video_key="observation.images.top", episode_index=k
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            if codec == "h264":
                write_mp4(path, encode_frames(frames, gop=2, crf=20), Fraction(30))
            else:
                write_with(path, frames, codec)
        path = root / info["data_path"].format(episode_chunk=0, episode_index=k)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return root


def write_with(path, frames, codec, **options):
    """Write a video with one of FFmpeg's encoders."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))


def test_v21(tmp_path):
    result = take(write_v21(tmp_path / "v21"), tmp_path / "d")
    assert (result.episodes, result.copied, result.encoded, result.skipped) == (2, 14, 0, {})
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.robot == "koch"
    for k, episode in enumerate(dataset.episodes):
        assert episode.task == f"task {k}"
        assert rows(episode, "joints/state", "position").tolist() == [[n, k] for n in range(7)]
        assert episode.field("joints/state", "position").labels == ("state.0", "state.1")
        assert episode.field("joints/command", "position").labels == ("x", "x.1")
        wanted = encode_frames([shown(k, n) for n in range(7)], gop=2, crf=20)
        packets = [p.data for g in range(4) for p in h264.split_samples(episode.shard("cameras/top").chunk(g))]
        # The same NAL units; an MP4 stores lengths instead of start codes.
        assert packets == [h264.START_CODE + h264.START_CODE.join(h264.nal_units(p.data)) for p in wanted]


def test_v21_with_framesas_files(tmp_path):
    result = take(write_v21(tmp_path / "v21", images=True), tmp_path / "d")
    assert (result.episodes, result.copied, result.encoded) == (2, 0, 14)
    frames = Dataset.open(tmp_path / "d").episodes[1].frames("cameras/top")
    assert np.array_equal(frames, [shown(1, n) for n in range(7)])


def test_several_files_are_read_as_one_dataset(record, script, tmp_path, monkeypatch):
    dataset = record(*[script(seed=k, seconds=0.3) for k in range(3)])
    monkeypatch.setattr(layout, "VIDEO_MB", 1e-9)
    monkeypatch.setattr(layout, "DATA_MB", 1e-9)
    export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    assert len(list((tmp_path / "out").rglob("file-*.mp4"))) == 6
    result = take(tmp_path / "out", tmp_path / "d")
    assert (result.episodes, result.copied) == (3, 54)
    for before, after in zip(dataset.episodes, Dataset.open(tmp_path / "d").episodes, strict=True):
        assert np.array_equal(after.frames("cameras/wrist"), before.frames("cameras/wrist"))


def change_rows(source, episode, **columns):
    """Replace columns of an episode, or add them."""
    path = source / "data" / "chunk-000" / f"episode_{episode:06d}.parquet"
    rows = pq.read_table(path)
    for name, values in columns.items():
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
        else:
            rows = rows.append_column(name, pa.array(values))
    pq.write_table(rows, path)


def test_changes_within_an_episode_are_kept(tmp_path):
    """Measured timestamps, and the instruction of each row."""
    source = write_v21(tmp_path / "v21", episodes=2)
    change_rows(source, 0, timestamp=[0.0, 0.1, 0.2, 0.35, 0.4, 0.5, 0.6], task_index=[0, 0, 0, 1, 1, 1, 1])
    lines = (source / "meta" / "episodes.jsonl").read_text()
    (source / "meta" / "episodes.jsonl").write_text(lines.replace('["task 0"]', '["task 0", "task 1"]'))
    result = take(source, tmp_path / "d", outcome="success")
    # The episodes differ in their streams, so the second one is skipped.
    assert list(result.skipped) == ["1"]
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert np.diff(episode.time_ns("joints/state")).tolist() == [1e8, 1e8, 1.5e8, 0.5e8, 1e8, 1e8]
    assert episode.attributes["clock"] == "since the episode's start"
    assert (episode.task, episode.attributes["tasks"], episode.outcome) == ("task 0", ["task 0", "task 1"], "success")
    assert episode.values("task_index", "value")[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_notes_list_what_is_not_imported(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1)
    features = json.loads((source / "meta" / "info.json").read_text())["features"]
    depth = {"dtype": "video", "shape": [48, 64, 1], "names": None, "info": {"is_depth_map": True}}
    change_info(
        source,
        robot_type=None,
        features=features
        | {
            "observation.images.depth": depth,
            "language_persistent": {"dtype": "language", "shape": [1], "names": None},
            "big": {"dtype": "int64", "shape": [1], "names": None},
        },
    )
    change_rows(source, 0, language_persistent=[[{"role": "user", "content": "hi"}]] * 7, big=[2**53 + 1] * 7)
    result = take(source, tmp_path / "d")
    assert result.skipped == {}
    assert result.notes == [
        "The source does not name a robot; pass --robot.",
        NOMINAL_NOTE,
        "LeRobot has no units: positions and commands are kept unchanged, without a unit.",
        "Not imported: text annotations (language_persistent).",
        "Not imported: depth as video (observation.images.depth).",
        "big: integers beyond 2^53 are rounded to float64.",
    ]


def test_video_that_cannot_be_copied_is_encoded_and_the_loss_is_measured(tmp_path):
    source = write_v21(tmp_path / "v21", codec="mpeg4")
    result = take(source, tmp_path / "d", crf=0)
    assert (result.copied, result.encoded) == (0, 14)
    (note,) = [note for note in result.notes if "PSNR" in note]
    assert note.startswith("cameras/top: converted from mpeg4; PSNR over a few frames per episode: ")
    assert float(note.split("episode: ")[1].split(" dB")[0]) > 38


def test_b_frames_do_not_change_the_order(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1, length=20)
    path = next(source.glob("videos/*/*/*.mp4"))
    path.unlink()
    write_with(path, [shown(0, n) for n in range(20)], "libx264", bf="3", preset="medium", **{"x264-params": "log=-1"})
    result = take(source, tmp_path / "d")
    assert (result.copied, result.encoded) == (0, 20)
    frames = Dataset.open(tmp_path / "d").episodes[0].frames("cameras/top").astype(int)
    wanted = np.stack([shown(0, n) for n in range(20)]).astype(int)
    nearest = [int(np.abs(wanted - frame).mean(axis=(1, 2, 3)).argmin()) for frame in frames]
    assert nearest == list(range(20))


def test_lossless_is_exact(tmp_path):
    source = write_v21(tmp_path / "v21")
    take(source, tmp_path / "a")
    take(source, tmp_path / "b", codec="lossless")
    a, b = (Dataset.open(tmp_path / name).episodes[0] for name in "ab")
    assert b.camera("cameras/top").codec == "lossless"
    assert np.array_equal(a.frames("cameras/top"), b.frames("cameras/top"))


def test_an_odd_size_is_kept_without_loss(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1, images=True)
    for n in range(7):
        cv2.imwrite(str(source / "images" / "top" / f"0_{n}.png"), shown(0, n)[:45, :61, ::-1])
    result = take(source, tmp_path / "d", codec="h264")
    note = "cameras/top: h264 does not support the odd size 61x45; the images are stored without loss."
    assert note in result.notes
    frames = Dataset.open(tmp_path / "d").episodes[0].frames("cameras/top")
    assert np.array_equal(frames, [shown(0, n)[:45, :61] for n in range(7)])


def test_jpegs_are_kept_as_they_are(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1, images=True)
    jpegs = [cv2.imencode(".jpg", shown(0, n))[1].tobytes() for n in range(7)]
    for n, data in enumerate(jpegs):
        (source / "images" / "top" / f"0_{n}.png").write_bytes(data)
    result = take(source, tmp_path / "d")
    assert (result.copied, result.encoded) == (7, 0)
    shard = Dataset.open(tmp_path / "d").episodes[0].shard("cameras/top")
    assert [shard.chunk(n) for n in range(7)] == jpegs


def test_depth_framesare_exact_and_tiny_ones_are_not_imported(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1, images=True)
    depth = [np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) + n for n in range(7)]
    for n, image in enumerate(depth):
        cv2.imwrite(str(source / "images" / "top" / f"0_{n}.png"), image)
    take(source, tmp_path / "d")
    assert np.array_equal(Dataset.open(tmp_path / "d").episodes[0].frames("cameras/top"), depth)
    for n in range(7):
        cv2.imwrite(str(source / "images" / "top" / f"0_{n}.png"), shown(0, n)[:8, :8])
    result = take(source, tmp_path / "tiny")
    note = "cameras/top: 8x8 images are not imported; the smallest supported side is 16 pixels."
    assert note in result.notes


# damaged and malicious datasets


def test_an_unreadable_episode_is_skipped(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=3)
    path = source / "data" / "chunk-000" / "episode_000001.parquet"
    path.unlink()
    result = take(source, tmp_path / "d")
    assert result.episodes == 2
    assert result.skipped == {"1": f"{path}: the file does not exist; fetch the whole dataset"}
    dataset = Dataset.open(tmp_path / "d")
    assert [episode.attributes["source"]["episode"] for episode in dataset.episodes] == ["0", "2"]
    assert not dataset.unfinished


def test_a_truncated_parquet_file_is_named(tmp_path):
    source = write_v21(tmp_path / "v21")
    path = source / "data" / "chunk-000" / "episode_000000.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    result = take(source, tmp_path / "d")
    assert list(result.skipped) == ["0"]
    assert result.skipped["0"].startswith(f"{path}: cannot be read (Parquet magic bytes not found")


def test_a_truncated_video_is_named(tmp_path):
    source = write_v21(tmp_path / "v21", codec="mpeg4")
    path = source / "videos" / "chunk-000" / "observation.images.top" / "episode_000001.mp4"
    path.write_bytes(path.read_bytes()[:900])
    result = take(source, tmp_path / "d")
    assert (result.episodes, list(result.skipped)) == (1, ["1"])
    reasons = ("the video cannot be decoded (", "the file has no video stream that can be decoded")
    assert result.skipped["1"].startswith(tuple(f"{path}: {reason}" for reason in reasons))


def test_a_video_with_too_few_frames_is_named(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1)
    (path,) = source.glob("videos/*/*/*.mp4")
    path.unlink()
    write_mp4(path, encode_frames([shown(0, n) for n in range(5)], gop=2, crf=20), Fraction(30))
    why = f"{path}: frame 5 of 7 from 0.000 s on is missing; fetch the file again"
    assert take(source, tmp_path / "d").skipped == {"0": why}


def test_rows_of_changing_shape_are_refused(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=2)
    path = source / "data" / "chunk-000" / "episode_000001.parquet"
    rows = pq.read_table(path)
    at = rows.column_names.index("action")
    pq.write_table(rows.set_column(at, "action", pa.array([[1.0, 2.0]] * 6 + [[1.0]])), path)
    skipped = take(source, tmp_path / "d").skipped
    assert skipped == {"1": "action: has rows of 1 and 2 numbers, expected the same number in every row"}


def test_non_finite_numbers_are_kept(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1)
    path = source / "data" / "chunk-000" / "episode_000000.parquet"
    rows = pq.read_table(path)
    values = [[float("nan"), float("inf")], [None, -0.0]] + [[0.0, 0.0]] * 5
    pq.write_table(rows.set_column(rows.column_names.index("action"), "action", pa.array(values)), path)
    take(source, tmp_path / "d")
    found = Dataset.open(tmp_path / "d").episodes[0].values("joints/command", "position")
    assert np.array_equal(found[:2], [[np.nan, np.inf], [np.nan, -0.0]], equal_nan=True)


def change_info(source, **values):
    path = source / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", ["../../secret-{episode_index}", "/etc/{episode_index}"])
def test_paths_outside_the_dataset_are_refused(tmp_path, name):
    source = write_v21(tmp_path / "v21", episodes=1)
    change_info(source, data_path=name)
    with_number = name.format(episode_index=0)
    (why,) = take(source, tmp_path / "d").skipped.values()
    expected = f"{source}: names the file {with_number!r}, which is outside the folder; do not trust this dataset"
    assert why == expected


def test_framesoutside_the_dataset_are_refused(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1, images=True)
    path = source / "data" / "chunk-000" / "episode_000000.parquet"
    rows = pq.read_table(path)
    cells = pa.array([{"bytes": None, "path": "../../../etc/passwd"}] * 7)
    at = rows.column_names.index("observation.images.top")
    pq.write_table(rows.set_column(at, "observation.images.top", cells), path)
    (why,) = take(source, tmp_path / "d").skipped.values()
    assert "which is outside the folder" in why


def test_column_names_stay_in_the_episode(tmp_path):
    names = ["../../escape", "a/b", "a", "x" * 300, "grüße", "zarr.json", "time"]
    source = write_v21(tmp_path / "v21", episodes=1)
    info = json.loads((source / "meta" / "info.json").read_text())
    extra = {name: {"dtype": "float64", "shape": [1], "names": None} for name in names}
    change_info(source, features=info["features"] | extra)
    path = source / "data" / "chunk-000" / "episode_000000.parquet"
    rows = pq.read_table(path)
    for place, name in enumerate(names):
        rows = rows.append_column(name, pa.array([float(place)] * 7))
    pq.write_table(rows, path)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert take(source, tmp_path / "d").skipped == {}
    episode = Dataset.open(tmp_path / "d").episodes[0]
    values = {float(episode.values(s, "value")[0, 0]) for s in episode.streams if not s.startswith(("j", "cam"))}
    assert values == set(range(len(names)))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "d"])
    assert sum(report.problems for report in check_dataset(Dataset.open(tmp_path / "d"))) == 0


def test_16_bit_colors_are_refused(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1, images=True)
    for n in range(7):
        cv2.imwrite(str(source / "images" / "top" / f"0_{n}.png"), shown(0, n).astype(np.uint16) * 257)
    (why,) = take(source, tmp_path / "d").skipped.values()
    assert why == "image: its colors are uint16, expected uint8"


def test_other_datasets_are_refused(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=1)
    change_info(source, codebase_version="v1.6")
    with pytest.raises(FileError) as error:
        take(source, tmp_path / "d")
    assert str(error.value) == f"{source}: is a LeRobot dataset v1.6, expected v2.x or v3.x; convert it with LeRobot"
    (source / "meta" / "info.json").write_text("{")
    with pytest.raises(FileError) as error:
        take(source, tmp_path / "d")
    assert "info.json: cannot be read (Expecting property name" in str(error.value)
    assert not (tmp_path / "d").exists()


def test_no_episode_and_an_empty_one(tmp_path):
    source = write_v21(tmp_path / "v21", episodes=0)
    with pytest.raises(FileError) as error:
        take(source, tmp_path / "d")
    assert str(error.value) == "v21: the source has no episodes; check that the folder is complete"
    shutil.rmtree(source)
    write_v21(source, episodes=1, length=1)
    assert take(source, tmp_path / "one").skipped == {}
    assert Dataset.open(tmp_path / "one").episodes[0].count("cameras/top") == 1
    lines = (source / "meta" / "episodes.jsonl").read_text()
    (source / "meta" / "episodes.jsonl").write_text(lines.replace('"length": 1', '"length": 0'))
    (why,) = take(source, tmp_path / "none").skipped.values()
    assert why.endswith("contains 1 row of episode 0, expected 0; fetch the file again")


@pytest.mark.parametrize(
    ("names", "shape", "labels"),
    [
        (["a", "b"], (2,), ("a", "b")),
        ({"motors": ["a", "a"]}, (2,), ("a", "a.1")),
        ({"left": ["a"], "right": ["b"]}, (2,), ("a", "b")),
        (None, (2,), ("state.0", "state.1")),
        (["a"], (2,), ("state.0", "state.1")),
        ({"a": 0, "b": 1}, (2,), ("state.0", "state.1")),
        (None, (), ("state",)),
    ],
)
def test_labels(names, shape, labels):
    assert labels_of(names, shape, "observation.state") == labels


def test_the_source_is_only_read(tmp_path):
    source = write_v21(tmp_path / "v21")
    before = {p: p.read_bytes() for p in Path(source).rglob("*") if p.is_file()}
    take(source, tmp_path / "d")
    assert {p: p.read_bytes() for p in Path(source).rglob("*") if p.is_file()} == before


def test_rows_in_another_file_than_the_table_states_are_found(record, script, tmp_path, monkeypatch):
    dataset = record(*[script(seconds=0.3, seed=k) for k in range(3)])
    monkeypatch.setattr(layout, "DATA_MB", 1e-9)
    export_dataset(dataset, tmp_path / "out", LeRobotConfig())
    (path,) = (tmp_path / "out/meta/episodes").glob("*/*.parquet")
    episodes = pq.read_table(path).to_pydict()
    episodes["data/file_index"][2] = 1
    pq.write_table(pa.table(episodes), path)
    result = take(tmp_path / "out", tmp_path / "back")
    assert (result.episodes, result.skipped) == (3, {})
    assert "Rows are in another file than the table of episodes states. (1 of 3 episodes)" in result.notes
    back = Dataset.open(tmp_path / "back").episodes[2]
    states = table(tmp_path / "out")["observation.state"].to_pylist()
    assert back.values("joints/state", "position").tolist() == states[18:]


def test_a_line_separator_in_an_instruction_does_not_break_a_line(tmp_path):
    from waldo.datasets.lerobot.files import _lines

    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps({"task": "a\u2028b"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert _lines(path) == [{"task": "a\u2028b"}]


def write_openpi(root, episodes=2, length=20):
    """Write a v2.1 dataset with the keys of openpi's LIBERO example: images in the rows, `state` and `actions`."""
    (root / "meta").mkdir(parents=True)
    image = {"dtype": "image", "shape": [48, 64, 3], "names": ["height", "width", "channel"]}
    features = {
        "image": image,
        "wrist_image": image,
        "state": {"dtype": "float32", "shape": [8], "names": ["state"]},
        "actions": {"dtype": "float32", "shape": [7], "names": ["actions"]},
    }
    own = {name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "panda",
        "fps": 10,
        "features": features | {"timestamp": {"dtype": "float32", "shape": [1]}} | own,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [{"episode_index": k, "tasks": ["pick"], "length": length} for k in range(episodes)]
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "meta" / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "pick"}) + "\n")
    for k in range(episodes):
        cells = [
            [{"bytes": cv2.imencode(".png", shown(k + shift, n)[..., ::-1])[1].tobytes()} for n in range(length)]
            for shift in (0, 1)
        ]
        columns = {
            "image": cells[0],
            "wrist_image": cells[1],
            "state": [[float(1000 * k + n + d) for d in range(8)] for n in range(length)],
            "actions": [[float(n + d) for d in range(7)] for n in range(length)],
            "timestamp": pa.array([n / 10 for n in range(length)], pa.float32()),
            "frame_index": list(range(length)),
            "episode_index": [k] * length,
            "index": [k * length + n for n in range(length)],
            "task_index": [0] * length,
        }
        path = root / f"data/chunk-000/episode_{k:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return root


OPENPI = (
    "image=cameras/base",
    "wrist_image=cameras/wrist",
    "state=joint_states",
    "actions=joint_commands:x,y,z,a,b,c,g",
)


def test_openpis_keys_are_mapped_and_export(tmp_path):
    source = write_openpi(tmp_path / "libero")
    result = take(source, tmp_path / "d", map=OPENPI)
    assert (result.episodes, result.skipped) == (2, {})
    assert [(row.key, row.contents, row.stream) for row in result.mapped] == [
        ("state", "numbers[8]", "joints/state/position"),
        ("actions", "numbers[7]", "joints/command/position"),
        ("image", "single images 64x48", "cameras/base"),
        ("wrist_image", "single images 64x48", "cameras/wrist"),
    ]
    episode = Dataset.open(tmp_path / "d").episodes[1]
    assert rows(episode, "joints/state", "position")[3].tolist() == [1003.0 + d for d in range(8)]
    assert episode.field("joints/command", "position").labels == ("x", "y", "z", "a", "b", "c", "g")
    assert np.array_equal(episode.frames("cameras/wrist")[5], shown(2, 5))
    config = LeRobotConfig(selection=Selection(), rows=RowConfig(fps=10))
    exported = export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", config)
    assert (exported.episodes, exported.skipped) == (2, {})
    out = table(tmp_path / "out")
    assert np.array_equal(np.stack(out["action"].to_numpy()), np.stack(table(source)["actions"].to_numpy()))
    assert (tmp_path / "out" / "videos" / "observation.images.wrist").is_dir()


def test_without_a_mapping_the_import_names_what_an_export_lacks(tmp_path):
    result = take(write_openpi(tmp_path / "libero"), tmp_path / "d")
    assert result.notes[-1] == (
        "Without joints/state and joints/command the episodes cannot be exported to rows or used for training; pass "
        "--map KEY=joint_states KEY=joint_commands, with keys such as: state, actions."
    )


def test_an_episode_that_cannot_be_exported_is_named_with_the_reason(tmp_path):
    source = write_v21(tmp_path / "v21")
    path = source / "data/chunk-000/episode_000001.parquet"
    rows_of = pq.read_table(path)
    values = [[float("nan"), 1.0], *rows_of["action"].to_pylist()[1:]]
    at = rows_of.column_names.index("action")
    pq.write_table(rows_of.set_column(at, "action", pa.array(values)), path)
    result = take(source, tmp_path / "d")
    assert result.notes[-1] == (
        "Not exported and not used for training with the default options: action is not a finite number in 1 row (x). "
        "(1 of 2 episodes)"
    )
    exported = export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", ALL)
    assert list(exported.skipped) == [1]


def test_a_mapped_column_replaces_the_one_that_has_the_stream_by_its_name(tmp_path):
    """The other column keeps its numbers, as a stream of its own name."""
    take(write_v21(tmp_path / "v21"), tmp_path / "d", map=("action=joint_states",))
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert rows(episode, "joints/state", "position").tolist() == [[n + 1, 0] for n in range(7)]
    assert rows(episode, "observation.state").tolist() == [[n, 0] for n in range(7)]
    assert "joints/command" not in episode.streams


def test_two_columns_become_one_state(tmp_path):
    pairs = ("action=joint_states:b_", "observation.state=joint_states:a_")
    take(write_v21(tmp_path / "v21"), tmp_path / "d", map=pairs)
    episode = Dataset.open(tmp_path / "d").episodes[1]
    assert episode.field("joints/state", "position").labels == ("b_x", "b_x.1", "a_state.0", "a_state.1")
    assert rows(episode, "joints/state", "position")[2].tolist() == [3, 1, 2, 1]


@pytest.mark.parametrize("missing", [[0], [1], [0, 1]])
def test_numbers_are_imported_when_a_video_is_missing(tmp_path, missing):
    source = write_v21(tmp_path / "v21")
    videos = [source / f"videos/chunk-000/observation.images.top/episode_{k:06d}.mp4" for k in range(2)]
    kept = {path: path.read_bytes() for path in videos}
    for k in missing:
        videos[k].unlink()
    result = take(source, tmp_path / "d")
    assert (result.episodes, result.skipped) == (2, {})
    share = "" if len(missing) == 2 else " (1 of 2 episodes)"
    note = "cameras/top is not imported: the video of observation.images.top does not exist; fetch the whole dataset."
    assert note + share in result.notes
    for k, episode in enumerate(Dataset.open(tmp_path / "d").episodes):
        assert rows(episode, "joints/state", "position").tolist() == [[n, k] for n in range(7)]
        assert ("cameras/top" in episode.streams) == (k not in missing)
    if missing == [0, 1]:
        assert {row.key: row.why for row in result.mapped}["observation.images.top"] == "the video does not exist"
    # With its video an episode has new content, and it fits the ones without it.
    for path, data in kept.items():
        path.write_bytes(data)
    assert take(source, tmp_path / "d").episodes == len(missing)


def rewritten(source, column, values):
    """Replace a column of the first episode."""
    path = source / "data/chunk-000/episode_000000.parquet"
    found = pq.read_table(path)
    pq.write_table(found.set_column(found.column_names.index(column), column, pa.array(values)), path)


def test_the_rows_decide_on_the_instruction(tmp_path):
    source = write_v21(tmp_path / "v21")
    rewritten(source, "task_index", [1] * 7)
    result = take(source, tmp_path / "d")
    note = "task_index and the table of episodes disagree; the instruction of the rows is used, as LeRobot does."
    assert f"{note} (1 of 2 episodes)" in result.notes
    assert [episode.task for episode in Dataset.open(tmp_path / "d").episodes] == ["task 1", "task 1"]


def test_an_unknown_task_index_leaves_the_instruction_of_the_table(tmp_path):
    source = write_v21(tmp_path / "v21")
    rewritten(source, "task_index", [9] * 7)
    result = take(source, tmp_path / "d")
    note = "task_index is not in the table of tasks; the instruction in the table of episodes is used."
    assert f"{note} (1 of 2 episodes)" in result.notes
    assert Dataset.open(tmp_path / "d").episodes[0].task == "task 0"


def test_a_column_of_words_is_left_out_by_name(tmp_path):
    source = write_v21(tmp_path / "v21")
    info = json.loads((source / "meta/info.json").read_text())
    info["features"]["hint"] = {"dtype": "string", "shape": [1], "names": None}
    info["features"]["words"] = {"dtype": "float32", "shape": [1], "names": None}
    (source / "meta/info.json").write_text(json.dumps(info))
    for k in range(2):
        path = source / f"data/chunk-000/episode_{k:06d}.parquet"
        words = pa.array(["fold"] * 7)
        pq.write_table(pq.read_table(path).append_column("hint", words).append_column("words", words), path)
    result = take(source, tmp_path / "d")
    assert (result.episodes, result.skipped) == (2, {})
    assert "Not imported: text columns (hint)." in result.notes
    assert "words does not contain numbers and is not imported." in result.notes
    assert {row.key: row.why for row in result.mapped if not row.stream} == {"hint": "text", "words": "see the notes"}


def test_a_dataset_without_statistics_is_imported(tmp_path):
    source = write_v21(tmp_path / "v21")
    (source / "meta" / "episodes_stats.jsonl").unlink()
    assert take(source, tmp_path / "d").episodes == 2


def test_frames_after_the_last_row_are_left_out(tmp_path):
    source = write_v21(tmp_path / "v21")
    path = source / "videos/chunk-000/observation.images.top/episode_000000.mp4"
    write_mp4(path, encode_frames([shown(0, n) for n in range(11)], gop=2, crf=20), Fraction(30))
    assert take(source, tmp_path / "d").skipped == {}
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert episode.count("cameras/top") == episode.count("joints/state") == 7


def test_keys_and_names_survive_import_and_export(tmp_path):
    source = write_v21(tmp_path / "v21")
    take(source, tmp_path / "d")
    export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", ALL)
    info = json.loads((tmp_path / "out" / "meta" / "info.json").read_text())["features"]
    assert {"observation.state", "action", "observation.images.top"} <= info.keys()
    assert info["action"]["names"] == ["x", "x.1"]
    before, after = table(source), table(tmp_path / "out")
    for key in ("observation.state", "action"):
        assert np.array_equal(np.stack(before[key].to_numpy()), np.stack(after[key].to_numpy()))


def write_at(path, times, codec="libx264"):
    """Write a video whose frames are at the given times [s]."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30, options={"g": "2", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        for number, at_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(shown(0, number), format="rgb24")
            frame.pts, frame.time_base = round(at_s * 90000), Fraction(1, 90000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("times", "rate_hz", "note"),
    [
        (
            np.arange(14) / 60,
            60,
            "cameras/top: the video has 60 Hz, the rows have 30 Hz; the frames keep their own times.",
        ),
        (
            np.arange(4) / 15,
            15,
            "cameras/top: the video has 15 Hz, the rows have 30 Hz; the frames keep their own times.",
        ),
        (
            np.array([0, 1, 3, 4, 6]) / 30,
            30,
            "cameras/top: the frame rate of the video varies, the rows have 30 Hz; the frames keep their own times.",
        ),
    ],
)
def test_frames_of_another_or_a_varying_rate_keep_their_times(tmp_path, times, rate_hz, note):
    source = write_v21(tmp_path / "v21", episodes=1)
    write_at(source / "videos/chunk-000/observation.images.top/episode_000000.mp4", times)
    result = take(source, tmp_path / "d")
    assert (result.episodes, result.skipped) == (1, {})
    assert note in result.notes
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert episode.streams["cameras/top"].rate_hz == rate_hz
    kept = [at for at in times if at < 6.5 / 30]
    stamps = episode.time_ns("cameras/top") - episode.time_ns("joints/state")[0]
    assert np.abs(stamps / 1e9 - kept).max() < 1e-4
    frames = episode.frames("cameras/top")
    assert np.abs(frames[-1].astype(int) - shown(0, len(kept) - 1)).mean() < 4
