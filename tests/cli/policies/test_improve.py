"""`waldo improve`: demonstrations, a policy, its corrections, a better policy, and the ledger of both."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.machine import GL
from waldo.cli import main
from waldo.cli.policies.improve import Improve
from waldo.datasets.dataset import Dataset
from waldo.errors import FileError, InvalidValueError
from waldo.graphics import choose_backend
from waldo.robots.control.arbiter import Source
from waldo.train.ledger import read_ledger


@pytest.mark.parametrize(
    "options",
    [{"demonstrations": 0}, {"interventions": 0}, {"interventions": 2000}, {"weight": 0}, {"correct_after": 0.0}],
)
def test_values_out_of_range_are_refused(options: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError):
        Improve(folder=tmp_path, **options)  # type: ignore[arg-type]


@pytest.mark.skipif(choose_backend() is None, reason=GL)
def test_a_round_of_corrections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "loop"
    options = ["--demonstrations", "1", "--interventions", "1", "--steps", "2", "--episodes", "2"]
    small = ["--camera-size", "64", "48", "--correct-after", "0.5"]
    assert main.main(["improve", str(folder), *options, *small]) == 0
    first, second = read_ledger(folder)
    assert (first.round, first.parent, first.interventions, first.gain) == (0, None, 0, None)
    assert (second.round, second.parent, second.interventions) == (1, str(folder / "policy-0"), 1)
    assert second.mcnemar_p is not None
    assert [used.episodes for used in second.data] == [1, 1]
    assert first.seeds == second.seeds == (100_000, 2)
    (episode,) = Dataset.open(folder / "corrections-1").episodes
    control = episode.values("control", "value")[:, 0]
    changes = [control[0], *(after for before, after in pairwise(control) if after != before)]
    # The person takes over from the policy once, and the robot holds at the end.
    assert [source for source in changes if source != Source.HOLD] == [Source.POLICY, Source.PERSON]
    assert second.person_s == pytest.approx((control == Source.PERSON).sum() / 60, abs=0.1)
    # The ledger is complete: nothing is done again, and other options need another folder.
    assert main.main(["improve", str(folder), *options, *small]) == 0
    assert len(read_ledger(folder)) == 2
    with pytest.raises(FileError, match=r"was made with other options \(steps\)"):
        Improve(folder=folder, demonstrations=1, interventions=1, steps=3, episodes=2, correct_after=0.5).run()
