"""The parts that all exports share, with a format of one text file per dataset."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import ExportConfig, ExportStats, export_dataset
from waldo.datasets.reading.row_config import RowConfig, UnfitEpisodeError
from waldo.datasets.reading.rows import make_rows, require_layout
from waldo.datasets.selection import Selection
from waldo.errors import FileError, NoMatchError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class TextConfig(ExportConfig):
    rows: RowConfig = field(default_factory=RowConfig)
    resumable: bool = False

    def open(self, first):
        return TextTarget(self.rows.resolve(first), self.resumable)


@dataclass(frozen=True)
class TextTarget:
    rows: RowConfig
    resumable: bool = False

    def prepare(self, episode, scratch):
        scratch.mkdir(exist_ok=True)
        (scratch / str(episode.index)).touch()
        return make_rows(episode, self.rows)

    def writer(self, dataset, path):
        return TextWriter(dataset, path)


class TextWriter:
    opened: ClassVar[list["TextWriter"]] = []

    def __init__(self, dataset, path):
        self.path, self.robot, self.rows, self.closed = path, dataset.robot, {}, 0
        self.opened.append(self)

    def add(self, index, prepared):
        for rows in self.rows.values():
            require_layout(index, prepared.layout, rows.layout)
        self.rows[index] = prepared

    def finish(self, progress):
        self.path.write_text(json.dumps({index: len(rows) for index, rows in self.rows.items()}))
        return ExportStats(rows=sum(map(len, self.rows.values())), notes=[f"robot {self.robot}"])

    def close(self):
        self.closed += 1


def interrupt(done, total):
    if done == 1:
        raise KeyboardInterrupt


def test_an_export_writes_the_selected_episodes(record, script, tmp_path):
    dataset = record(script(), script(outcome="failure"), script(seconds=0.5))
    steps = []
    result = export_dataset(
        dataset, tmp_path / "out", TextConfig(), progress=lambda done, total: steps.append((done, total))
    )
    assert json.loads((tmp_path / "out").read_text()) == {"0": 30, "2": 15}
    assert (result.path, result.episodes, result.rows) == (tmp_path / "out", 2, 45)
    assert (result.unselected, result.skipped, result.notes) == (1, {}, ["robot tiny"])
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "out"]
    assert TextWriter.opened[-1].closed == 1


def test_unfit_episodes_are_skipped_with_the_reason(record, script, tmp_path):
    dataset = record(script(), script(seconds=2.0, without_rows=range(60, 90)), script(seed=1))
    result = export_dataset(dataset, tmp_path / "out", TextConfig())
    assert (result.episodes, result.rows) == (2, 60)
    assert result.skipped == {1: "joints/state has 1 gap, the longest 517 ms at 0.98 s (the limit is 0.25 s)"}


def test_an_episode_with_other_columns_is_skipped(record, script, streams, tmp_path):
    dataset = record(script(), script())
    joints = [stream for stream in streams if stream.name in ("joints/state", "joints/command")]
    with dataset.lock():
        writer = dataset.begin(joints, {"task": "t"})
        for tick in range(60):
            for stream in joints:
                zeros = {field.name: np.zeros(3) for field in stream.fields}
                writer.row(stream.name, values=zeros, header_ns=tick * 16_666_667, receipt_ns=0, sequence=tick + 1)
        writer.save("success")
    result = export_dataset(dataset, tmp_path / "out", TextConfig(rows=RowConfig(cameras=None)))
    columns = "environment_state, telemetry.sent_action, telemetry.staleness, telemetry.winding"
    assert result.skipped == {2: f"columns differ from those of the first episode: observation.{columns}"}


def test_without_any_fit_episode_nothing_is_written(record, script, tmp_path):
    dataset = record(script(seconds=2.0, without_rows=range(60, 90)))
    with pytest.raises(FileError) as error:
        export_dataset(dataset, tmp_path / "out", TextConfig())
    why = "episode 0: joints/state has 1 gap, the longest 517 ms at 0.98 s (the limit is 0.25 s)"
    assert str(error.value) == f"{dataset.path}: no episode can be exported ({why}); see: waldo check"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_selection_without_a_match_is_an_error(record, script, tmp_path):
    dataset = record(script(outcome="failure"))
    with pytest.raises(NoMatchError) as error:
        export_dataset(dataset, tmp_path / "out", TextConfig())
    assert str(error.value) == (
        "no episode matches the filters (1 episode in total); by default only successful episodes are exported"
    )
    assert export_dataset(dataset, tmp_path / "out", TextConfig(selection=Selection())).rows == 30


def test_a_target_that_is_not_empty_is_an_error(record, script, tmp_path):
    (tmp_path / "out").mkdir()
    dataset = record(script())
    export_dataset(dataset, tmp_path / "out", TextConfig())
    with pytest.raises(FileError) as error:
        export_dataset(dataset, tmp_path / "out", TextConfig())
    do = "choose another folder, or delete this one first"
    assert str(error.value) == f"{tmp_path / 'out'}: already exists; {do}"


def test_an_unknown_camera_is_an_error_before_anything_is_written(record, script, tmp_path):
    with pytest.raises(UnknownNameError) as error:
        export_dataset(record(script()), tmp_path / "out", TextConfig(rows=RowConfig(cameras=("frnt",))))
    assert str(error.value) == "unknown camera 'frnt'; did you mean 'front'? (known: front, wrist)"
    assert isinstance(Dataset.open(tmp_path / "dataset"), Dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_an_interrupted_export_leaves_nothing(record, script, tmp_path):
    dataset = record(script(), script())
    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, tmp_path / "out", TextConfig(), progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    assert TextWriter.opened[-1].closed == 1


def test_a_resumable_export_keeps_its_scratch_files(record, script, tmp_path):
    dataset = record(script(), script())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            export_dataset(dataset, tmp_path / "out", TextConfig(resumable=True), progress=interrupt)
        assert [path.name for path in (tmp_path / ".out.partial" / "scratch").iterdir()] == ["0"]
        (tmp_path / ".out.partial" / "mark").touch()
    assert export_dataset(dataset, tmp_path / "out", TextConfig(resumable=True)).rows == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "out"]


@pytest.mark.parametrize("change", ["config", "edits", "episodes"])
def test_another_export_does_not_reuse_the_scratch_files(record, script, tmp_path, change):
    dataset, config = record(script(), script()), TextConfig(resumable=True)
    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, tmp_path / "out", config, progress=interrupt)
    mark = tmp_path / ".out.partial" / "mark"
    mark.touch()
    if change == "config":
        config = TextConfig(resumable=True, rows=RowConfig(fps=15))
    elif change == "edits":
        dataset.relabel([0], task="another task")
    else:
        record(script())
    with pytest.raises(KeyboardInterrupt):
        export_dataset(dataset, tmp_path / "out", config, progress=interrupt)
    assert not mark.exists()


def test_an_unfit_episode_survives_a_pickle():
    import pickle

    error = pickle.loads(pickle.dumps(UnfitEpisodeError(3, "motors is absent or empty")))
    assert (error.index, error.why, str(error)) == (
        3,
        "motors is absent or empty",
        "episode 3: motors is absent or empty",
    )
