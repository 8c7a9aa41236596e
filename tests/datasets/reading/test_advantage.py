"""The words that state how good an attempt was: by success, time and heat, and by who commanded the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.datasets.dataset import Dataset
from waldo.datasets.reading.advantage import (
    BAD,
    GOOD,
    AdvantageConfig,
    Attempt,
    Criterion,
    good_attempts,
    heat_j,
    labeled_pieces,
    without_advantage,
)
from waldo.datasets.reading.corrections import ControlConfig
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import Column, Rows
from waldo.datasets.reading.windows import WindowConfig, Windows
from waldo.datasets.schema import CONTROL_COLUMN
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import InvalidValueError, UnsupportedOptionError
from waldo.robots.control.arbiter import Source
from waldo.robots.description import load_robot

HOLD, PERSON, POLICY = Source.HOLD, Source.PERSON, Source.POLICY
START_NS = 1_700_000_000_000_000_000
JOINTS = load_robot("so101").joint_names


def by(*criteria: Criterion, share: float = 0.5) -> AdvantageConfig:
    return AdvantageConfig(advantage=criteria, advantage_share=share)


def attempt(task: str = "lift", *, success: bool = True, seconds: float = 1.0, heat_j: float = 1.0) -> Attempt:
    return Attempt(task=task, success=success, seconds=seconds, heat_j=heat_j)


def test_by_success_every_success_is_good_and_every_failure_bad() -> None:
    attempts = [attempt(seconds=9), attempt(success=False, seconds=1), attempt(seconds=2)]
    assert good_attempts(attempts, by("success")) == [True, False, True]


def test_by_time_the_faster_half_of_the_successes_of_each_instruction_is_good() -> None:
    attempts = [attempt(seconds=s) for s in (1, 2, 3, 4)] + [attempt("sort", seconds=s) for s in (20, 10)]
    assert good_attempts(attempts, by("time")) == [True, True, False, False, False, True]
    assert good_attempts(attempts, by("time", share=0.9)) == [True, True, True, False, False, True]


def test_time_and_heat_count_alike_in_units_of_their_means() -> None:
    # In seconds and joules alone, the heat would decide.
    attempts = [attempt(seconds=1, heat_j=110), attempt(seconds=3, heat_j=100), attempt(seconds=2, heat_j=105)]
    assert good_attempts(attempts, by("time", "heat", share=0.01)) == [True, False, False]
    assert good_attempts(attempts, by("heat", share=0.01)) == [False, True, False]


def test_a_fast_failure_is_bad_and_does_not_move_the_limit() -> None:
    attempts = [attempt(success=False, seconds=0.1), attempt(seconds=1), attempt(seconds=2)]
    assert good_attempts(attempts, by("time")) == [False, True, False]
    assert good_attempts([attempt(success=False)], by("time")) == [False]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=30), st.floats(0.01, 0.99))
def test_the_best_success_is_good_and_no_failure_is(values: list[tuple[bool, float, float]], share: float) -> None:
    attempts = [attempt(success=success, seconds=s, heat_j=j) for success, s, j in values]
    good = good_attempts(attempts, by("time", "heat", share=share))
    assert not any(one and not tried.success for one, tried in zip(good, attempts, strict=True))
    assert any(good) == any(tried.success for tried in attempts)


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InvalidValueError, match=r"advantage-share is .*, expected a number between 0 and 1"):
        by("time", share=share)


# rows


def rows_of(sources: list[int]) -> Rows:
    values = np.array(sources, dtype=np.float32)[:, None]
    return Rows(
        instants_ns=START_NS + np.arange(len(sources)) * 33_333_333,
        columns={CONTROL_COLUMN: Column(names=("control",), values=values)},
        frames={},
        frame_sizes={},
        frame_error_s={},
    )


def labels(sources: list[int], control: ControlConfig, *, good: bool = True, success: bool = True) -> list[str]:
    """Return the words of each row, in order: + good, - bad, space for rows that are left out."""
    rows = rows_of(sources)
    found = [" "] * len(rows)
    for part, words in labeled_pieces(rows, control, good=good, success=success):
        first = int(np.searchsorted(rows.instants_ns, part.instants_ns[0]))
        found[first : first + len(part)] = {GOOD: "+", BAD: "-"}[words] * len(part)
    return found


ALL = ControlConfig(control="all")


@pytest.mark.parametrize(
    ("sources", "control", "success", "expected"),
    [
        ([HOLD, POLICY, POLICY, HOLD, PERSON, HOLD, PERSON], ALL, True, "----+++"),
        ([HOLD, POLICY, POLICY, HOLD, PERSON, HOLD, PERSON], ControlConfig(), True, "    +++"),
        ([POLICY, PERSON, POLICY, PERSON], ALL, True, "-+-+"),
        ([POLICY, PERSON, POLICY, PERSON], ALL, False, "----"),
        ([PERSON, PERSON], ALL, True, "++"),
        ([POLICY, POLICY], ALL, True, "++"),
        ([POLICY, POLICY], ControlConfig(), True, "  "),
    ],
)
def test_a_correction_is_good_and_what_made_it_necessary_is_bad(
    sources: list[int], control: ControlConfig, success: bool, expected: str
) -> None:
    assert "".join(labels(sources, control, success=success)) == expected


def test_attempts_that_were_not_corrected_are_compared() -> None:
    assert labels([PERSON] * 3, ALL, good=False) == ["-"] * 3
    assert labels([POLICY] * 3, ALL, good=False) == ["-"] * 3
    # One that a person had to correct is no slow success.
    assert labels([POLICY, PERSON], ALL, good=False) == ["-", "+"]


def test_corrections_are_repeated() -> None:
    parts = labeled_pieces(rows_of([POLICY, PERSON]), replace(ALL, corrections=3), good=True, success=True)
    assert [words for _, words in parts] == [GOOD, BAD] * 3


# datasets


def make(root: Path, *episodes: tuple[str, str, int, float], motors: bool = True) -> Dataset:
    """Record episodes of (instruction, outcome, ticks at 60 Hz, current [A])."""
    position = Field("position", "rad", JOINTS)
    streams = [
        ScalarStream(name="joints/state", rate_hz=60.0, fields=(position,)),
        ScalarStream(name="joints/command", rate_hz=60.0, fields=(position,)),
    ]
    if motors:
        streams.append(ScalarStream(name="motors", rate_hz=10.0, fields=(Field("current", "A", JOINTS),)))
    dataset = Dataset.create(root, robot="so101")
    with dataset.lock():
        for task, outcome, ticks, current in episodes:
            writer = dataset.begin(tuple(streams), {"task": task}, back_pressure="wait")
            for tick in range(ticks):
                at = START_NS + round(tick * 1e9 / 60)
                stamps = {"header_ns": at, "receipt_ns": at}
                pose = np.full(len(JOINTS), tick / 60)
                for name in ("joints/state", "joints/command"):
                    writer.row(name, values={"position": pose}, sequence=tick + 1, **stamps)
                if motors and tick % 6 == 0:
                    values = {"current": np.full(len(JOINTS), current)}
                    writer.row("motors", values=values, sequence=tick // 6 + 1, **stamps)
            writer.save(outcome)
    return dataset


def windows(dataset: Dataset, config: AdvantageConfig) -> Windows:
    return Windows(dataset, WindowConfig(rows=RowConfig(cameras=()), advantage=config))


def test_the_heat_is_that_of_all_windings(tmp_path: Path) -> None:
    episode = make(tmp_path / "d", ("lift", "success", 121, 0.5)).episodes[0]
    ohms = sum(joint.motor.resistance_ohm or 0.0 for joint in load_robot("so101").joints)
    assert heat_j(episode, "so101") == pytest.approx(2.0 * 0.25 * ohms, rel=1e-6)


def test_the_instruction_of_each_row_states_the_advantage(tmp_path: Path) -> None:
    dataset = make(
        tmp_path / "d", ("lift", "success", 60, 1.0), ("lift", "success", 60, 0.1), ("lift", "failure", 60, 0.1)
    )
    found = windows(dataset, by("heat"))
    assert [span.task for span in found.spans] == [f"lift{BAD}", f"lift{GOOD}", f"lift{BAD}"]
    assert found.tasks == (f"lift{BAD}", f"lift{GOOD}")
    first = [span.first for span in found.spans]
    assert found.batch(first)["task"] == [f"lift{BAD}", f"lift{GOOD}", f"lift{BAD}"]
    assert found.columns["task_index"][first].tolist() == [0, 1, 0]
    assert windows(dataset, AdvantageConfig()).tasks == ("lift",)


def test_heat_that_was_not_recorded_cannot_be_compared(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d", ("lift", "success", 60, 0.0), motors=False)
    expected = "--advantage heat is not supported with episode 0, which has no motor currents"
    with pytest.raises(UnsupportedOptionError, match=expected):
        windows(dataset, by("heat"))
    assert windows(dataset, by("time")).tasks == (f"lift{GOOD}",)


def test_currents_that_are_unknown_are_not_taken_for_none(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d", ("lift", "success", 60, float("nan")))
    with pytest.raises(UnsupportedOptionError, match="episode 0, whose motors report no current"):
        windows(dataset, by("heat"))


def test_the_words_are_taken_off_again() -> None:
    assert [without_advantage(text) for text in (f"lift{GOOD}", f"lift{BAD}", "lift", "")] == [
        "lift",
        "lift",
        "lift",
        "",
    ]
