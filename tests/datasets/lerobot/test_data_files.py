import numpy as np
import pyarrow.parquet as pq
import pytest

from waldo.datasets.lerobot import data_files, layout
from waldo.datasets.lerobot.data_files import DataFiles, EpisodeTable
from waldo.datasets.lerobot.statistics import RunningStatistics, column_statistics

NUMBERS = layout.number_feature(["a", "b", "c"], np.dtype("float32"))
FEATURES = {"action": NUMBERS, "next.success": layout.flag_feature()}


@pytest.fixture
def episodes():
    """Return the columns of episodes of different lengths."""
    random = np.random.default_rng(0)
    return [
        {"action": random.normal(size=(rows, 3)).astype(np.float32), "next.success": np.arange(rows) == rows - 1}
        for rows in (7, 30, 1, 12)
    ]


@pytest.mark.parametrize(("max_bytes", "files"), [(1e9, 1), (600, 2), (0, 4)])
@pytest.mark.parametrize("quantile_bytes", [1, 900, 10**9])
def test_quantiles_are_those_of_all_rows(tmp_path, monkeypatch, episodes, max_bytes, files, quantile_bytes):
    monkeypatch.setattr(data_files, "QUANTILE_BYTES", quantile_bytes)
    data = DataFiles(tmp_path, layout.schema(FEATURES), max_bytes)
    positions = [data.add(columns) for columns in episodes]
    data.close()
    assert positions[-1] == (0, files - 1)
    assert len(list(tmp_path.glob("data/chunk-000/*.parquet"))) == files
    for key in FEATURES:
        rows = np.concatenate([columns[key] for columns in episodes])
        expected = column_statistics(rows)
        for name, value in data.quantiles(key).items():
            assert np.array_equal(value, expected[name])


@pytest.mark.parametrize(("group_rows", "groups"), [(1, 4), (20, 2), (1000, 1)])
def test_a_row_group_has_many_episodes(tmp_path, monkeypatch, episodes, group_rows, groups):
    monkeypatch.setattr(data_files, "GROUP_ROWS", group_rows)
    data = DataFiles(tmp_path, layout.schema(FEATURES), 1e9)
    for columns in episodes:
        data.add(columns)
    data.close()
    (path,) = tmp_path.glob("data/chunk-000/*.parquet")
    with pq.ParquetFile(path) as file:
        assert (file.num_row_groups, file.metadata.num_rows) == (groups, 50)
        actions = file.read(columns=["action"])["action"].to_pylist()
    assert np.array_equal(actions, np.concatenate([columns["action"] for columns in episodes]))


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_the_table_of_episodes_has_every_episode(tmp_path, monkeypatch, episodes, at_once):
    monkeypatch.setattr(data_files, "EPISODES_AT_ONCE", at_once)
    table = EpisodeTable(tmp_path)
    for number, columns in enumerate(episodes):
        statistics = {key: column_statistics(values) for key, values in columns.items()}
        table.add({"episode_index": number, "tasks": ["t"], "length": len(columns["action"])}, statistics)
        if at_once == 1:
            assert table._rows == []  # written, so that it takes no memory
    table.close()
    rows = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in rows] == [7, 30, 1, 12]
    for row, columns in zip(rows, episodes, strict=True):
        assert row["stats/action/mean"] == pytest.approx(columns["action"].mean(axis=0), abs=1e-6)
        assert row["meta/episodes/file_index"] == 0


def test_running_statistics_are_those_of_all_rows(episodes):
    running = RunningStatistics()
    for columns in episodes:
        running.add(column_statistics(columns["action"]))
    expected = column_statistics(np.concatenate([columns["action"] for columns in episodes]))
    assert running.value.keys() == {"min", "max", "mean", "std", "count"}
    for name, value in running.value.items():
        assert value == pytest.approx(expected[name], rel=1e-12), name
