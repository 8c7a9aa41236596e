from pathlib import Path

import pytest

from waldo.datasets.storage.layout import EpisodeEntry, episode_entries, episode_index, episode_name, journal_name
from waldo.errors import FileError


def test_names_have_six_digits_or_more() -> None:
    assert (episode_name(7), journal_name(1_234_567)) == ("episode_000007.zarr", "episode_1234567.journal")
    assert [episode_index(Path("d") / name) for name in ("episode_000007.zarr", "episode_1234567.journal")] == [
        7,
        1_234_567,
    ]


def test_only_entries_of_episodes_are_listed() -> None:
    names = [
        "dataset.json",
        "lock",
        "episode_1.zarr",
        "episode_000001.zarr",
        "xepisode_000001.zarr",
        "episode_000002.zip",
    ]
    names += ["episode_000003.zarr.tmp", "episode_000004.journal.damaged", ".episode_000005.zarr.12.partial"]
    assert list(episode_entries(names)) == [
        EpisodeEntry(1, "episode_000001.zarr", "zarr"),
        EpisodeEntry(3, "episode_000003.zarr.tmp", "zarr.tmp"),
        EpisodeEntry(4, "episode_000004.journal.damaged", "journal.damaged"),
    ]


def test_other_names_have_no_index() -> None:
    with pytest.raises(FileError, match=r"is not named like an episode; expected episode_000000\.zarr"):
        episode_index(Path("dataset.json"))
