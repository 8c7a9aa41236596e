import json
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.lerobot.sources import change_info, rewritten, rows, shown, table, take, write_v21
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot import layout
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.video.encoder import encode_frames
from waldo.datasets.video.mp4shard import write_mp4
from waldo.errors import FileError


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


@pytest.mark.parametrize(
    ("number", "note", "tasks"),
    [
        (
            1,
            "task_index and the table of episodes disagree; the instruction of the rows is used, as LeRobot does.",
            ["task 1", "task 1"],
        ),
        (
            9,
            "task_index is not in the table of tasks; the instruction in the table of episodes is used.",
            ["task 0", "task 1"],
        ),
    ],
)
def test_the_rows_decide_on_the_instruction_if_they_name_one(tmp_path, number, note, tasks):
    source = write_v21(tmp_path / "v21")
    rewritten(source, "task_index", [number] * 7)
    result = take(source, tmp_path / "d")
    assert f"{note} (1 of 2 episodes)" in result.notes
    assert [episode.task for episode in Dataset.open(tmp_path / "d").episodes] == tasks


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
