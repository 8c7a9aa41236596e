"""The plan of a session: its file, its cells, and their order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.cli.support.config import load_file
from waldo.collect.sessions.plan import PlannedTask, SessionPlan
from waldo.errors import FileError, InvalidValueError, UnknownNameError, WaldoError

PLAN = """
name: kitchen
operators: [anna, ben]
reset_s: 8
start: motion
tasks:
  - instructions: [lift the cube, pick it up]
    scenes: [left, right]
    subtasks: [reach, lift]
    episodes: 5
  - instructions: [open the drawer]
"""


def load(tmp_path: Path, text: str) -> SessionPlan:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return load_file(SessionPlan, path)


def test_the_cells_are_all_combinations(tmp_path: Path) -> None:
    plan = load(tmp_path, PLAN)
    assert len(plan.cells) == 2 * (2 * 2 + 1)
    assert plan.episodes == 2 * (4 * 5 + 1)
    assert plan.cells[0].attributes("kitchen") == {
        "task": "lift the cube",
        "session": "kitchen",
        "session_cell": "anna / lift the cube / left",
        "operator": "anna",
        "scene": "left",
        "subtasks": ["reach", "lift"],
    }
    assert plan.cells[4].attributes("kitchen") == {
        "task": "open the drawer",
        "session": "kitchen",
        "session_cell": "anna / open the drawer / ",
        "operator": "anna",
    }


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("name: a\ntasks: []\n", InvalidValueError, r"^tasks in .*plan\.yaml line 2 is \(\), expected one or more"),
        ("name: a\n", FileError, r"lacks the key tasks \(line 1\); add it: The tasks\."),
        ("tasks: [{instructions: [a]}]\n", FileError, "lacks the key name"),
        ("name: a\ntasks:\n  - instruction: [a]\n", UnknownNameError, "line 3"),
        ("name: a\ntasks:\n  - episodes: 2\n", FileError, r"lacks the key instructions \(line 3\)"),
        ("name: a\ntasks:\n  - instructions: []\n", InvalidValueError, "^instructions in .* line 3"),
        ("name: a\ntasks:\n  - {instructions: [a], episodes: 0}\n", InvalidValueError, "^episodes in .* line 3"),
        ("\nname: a\ntasks: [{instructions: [a, a]}]\n", InvalidValueError, "^cell in .* line 2"),
        ("name: a\nstart: later\ntasks: [{instructions: [a]}]\n", InvalidValueError, "start in .* line 2"),
        ("name: a\nreset_s: -1\ntasks: [{instructions: [a]}]\n", InvalidValueError, "^reset_s in .* line 2 is -1.0"),
        ("name: a\ntasks: [lift]\n", WaldoError, "tasks in .* line 2"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(tmp_path, text)


def plan_of(*episodes: int, order: str = "interleaved") -> SessionPlan:
    tasks = tuple(PlannedTask(instructions=(f"task {k}",), episodes=number) for k, number in enumerate(episodes))
    return SessionPlan(name="p", tasks=tasks, order=order)  # type: ignore[arg-type]


def test_cells_alternate_unless_blocks_are_wanted() -> None:
    assert [cell.instruction[-1] for cell in plan_of(2, 2).upcoming({})] == ["0", "1", "0", "1"]
    assert [cell.instruction[-1] for cell in plan_of(2, 2, order="blocks").upcoming({})] == ["0", "0", "1", "1"]
    # What is furthest behind comes first.
    assert [cell.instruction[-1] for cell in plan_of(3, 1).upcoming({})] == ["0", "0", "0", "1"]


@given(
    episodes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    done=st.lists(st.integers(0, 8), min_size=6, max_size=6),
    blocks=st.booleans(),
)
def test_what_is_upcoming_completes_the_plan(episodes: list[int], done: list[int], blocks: bool) -> None:
    plan = plan_of(*episodes, order="blocks" if blocks else "interleaved")
    counted = {cell.key: number for cell, number in zip(plan.cells, done, strict=False)}
    upcoming = Counter(cell.key for cell in plan.upcoming(counted))
    for cell in plan.cells:
        assert upcoming[cell.key] == max(0, cell.episodes - counted.get(cell.key, 0))
    if not blocks and len(upcoming) > 1:
        # Recording in this order brings the cells to the same number of missing episodes and keeps them there.
        missing = {cell.key: max(0, cell.episodes - counted.get(cell.key, 0)) for cell in plan.cells}
        for cell in plan.upcoming(counted):
            assert missing[cell.key] == max(missing.values())
            missing[cell.key] -= 1


def test_a_plan_that_no_session_could_record_is_refused_before_its_cells_are_made() -> None:
    many = tuple(str(k) for k in range(1000))
    with pytest.raises(InvalidValueError, match=r"number of cells is 1000000000, expected at most 10000$"):
        SessionPlan(name="p", operators=many, tasks=(PlannedTask(instructions=many, scenes=many),))
    with pytest.raises(InvalidValueError, match=r"number of episodes is 1000000, expected at most 100000$"):
        plan_of(1_000_000)
    with pytest.raises(InvalidValueError, match=r"cell is ' / lift / ', expected each operator"):
        SessionPlan(name="p", tasks=(PlannedTask(instructions=("lift", "lift")),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instructions: lift", r"instructions in .* line 3 is 'lift', expected a list, such as \[a, b\]$"),
        ("instructions: [lift]\n    episodes: five", r"episodes in .* line 4 is 'five', expected a whole number$"),
    ],
)
def test_a_value_of_another_kind_is_explained(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(f"name: p\ntasks:\n  - {text}\n")
    with pytest.raises(InvalidValueError, match=expected):
        load_file(SessionPlan, path)
    path.write_text("name: p\ntasks: [lift]\n")
    with pytest.raises(InvalidValueError, match=r"expected a mapping of keys to values$"):
        load_file(SessionPlan, path)
