import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.lerobot.sources import (
    ALL,
    change_info,
    change_rows,
    rows,
    shown,
    table,
    take,
    write_at,
    write_v21,
    write_with,
    write_with_lerobot,
)
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot import layout
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.quality.check import check_dataset
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Selection
from waldo.datasets.video import h264
from waldo.datasets.video.encoder import encode_frames

NOMINAL_NOTE = "LeRobot has no capture times: stamps are counted at 30 Hz from 2000-01-01 (clock: nominal)."


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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Datasets of three episodes written by LeRobot: AV1, its default, and H.264."""
    from lerobot.configs.video import RGBEncoderConfig

    root = tmp_path_factory.mktemp("lerobot")
    ways = {"av1": {}, "h264": {"streaming_encoding": True, "rgb_encoder": RGBEncoderConfig(vcodec="h264")}}
    # SVT-AV1 gives the thread that calls it real-time priority if the user is root; this one ends.
    with ThreadPoolExecutor(1) as thread:
        for name, how in ways.items():
            thread.submit(write_with_lerobot, root / name, **how).result()
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
