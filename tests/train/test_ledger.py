"""The ledger: data, parents, results, and the comparison of two policies on the same seeds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from waldo.datasets.dataset import Dataset
from waldo.errors import FileError
from waldo.train.ledger import LEDGER_FILE, DataUsed, Entry, add_entry, compare, describe_data, read_ledger

ENTRY = Entry(
    round=0,
    policy="policy-0",
    parent=None,
    data=[DataUsed(path="demonstrations", episodes=2, sha256="0" * 64)],
    interventions=0,
    person_s=0.0,
    steps=10,
    seeds=(100_000, 4),
    success=[True, False, True, True],
    wilson_95=(0.3, 0.95),
    max_winding_c={"a": 40.0},
    joules={"a": 1.5},
    options={"task": "pick"},
)


def test_entries_survive_their_file(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) == []
    second = replace(ENTRY, round=1, parent="policy-0", gain=0.25, mcnemar_p=0.04)
    add_entry(tmp_path, ENTRY)
    add_entry(tmp_path, second)
    assert read_ledger(tmp_path) == [ENTRY, second]
    assert ENTRY.rate == 0.75


@pytest.mark.parametrize(("found", "damaged"), [("policy-0", "policy-1"), ('"crc32c"', '"crc"')])
def test_a_damaged_ledger_is_reported(tmp_path: Path, found: str, damaged: str) -> None:
    add_entry(tmp_path, ENTRY)
    path = tmp_path / LEDGER_FILE
    path.write_text(path.read_text().replace(found, damaged))
    with pytest.raises(FileError, match="damaged"):
        read_ledger(tmp_path)


def test_a_file_of_another_kind_is_reported(tmp_path: Path) -> None:
    from waldo.datasets.storage import jsonlines

    jsonlines.append(tmp_path / LEDGER_FILE, [{"round": "first"}], sync=True)
    with pytest.raises(FileError, match="is not a ledger"):
        read_ledger(tmp_path)


def test_mcnemars_test_counts_the_seeds_on_which_the_policies_differ() -> None:
    before = [True] * 50 + [False] * 50
    assert compare(before, before) == (0.0, 1.0)
    after = [True] * 45 + [False] * 5 + [True] * 30 + [False] * 20
    gain, p = compare(before, after)
    assert gain == pytest.approx(0.25)
    # Two-sided exact binomial test of 30 against 5.
    assert p == pytest.approx(2.24e-5, rel=0.01)
    assert compare(after, before)[1] == p


def test_the_hash_of_a_dataset_changes_with_its_episodes(
    record: Callable[..., Dataset], script: type, tmp_path: Path
) -> None:
    first = record(script(), script(seed=1), path=tmp_path / "first")
    second = record(script(), path=tmp_path / "second")
    described = describe_data(first.path)
    assert described.episodes == 2
    assert described == describe_data(first.path)
    assert described.sha256 != describe_data(second.path).sha256
