"""Rests are proposed before a limit, where they cost least."""

from __future__ import annotations

import pytest

from tests.dashboards import motor_status
from waldo.collect.sessions.plan import Cell
from waldo.collect.sessions.rest import propose_rest


def cell(operator: str = "anna", instruction: str = "lift", scene: str = "left") -> Cell:
    return Cell(operator=operator, instruction=instruction, scene=scene, subtasks=(), episodes=1)


def hot(left: float, rest_s: float = 180.0) -> dict[str, object]:
    return {
        "elbow": motor_status(episodes_left=left, cooldown_seconds=rest_s),
        "wrist": motor_status(episodes_left=50.0, cooldown_seconds=20.0),
        "base": motor_status(),
    }


@pytest.mark.parametrize(
    ("upcoming", "left", "after", "reason"),
    [
        ([cell()] * 20, 7.4, 7, "no change of the scene comes before"),
        ([cell()] * 4 + [cell(scene="right")] * 16, 7.4, 4, "the scene changes"),
        ([cell()] * 2 + [cell(instruction="open")] * 3 + [cell(operator="ben")] * 15, 7.4, 5, "the operator changes"),
        ([cell(), cell(scene="right")] * 10, 7.9, 7, "the scene changes"),
        ([cell()] * 20, 0.3, 0, "no change of the scene comes before"),
    ],
)
def test_a_rest_is_at_the_largest_change_before_the_limit(
    upcoming: list[Cell], left: float, after: int, reason: str
) -> None:
    rest = propose_rest(hot(left), upcoming)  # type: ignore[arg-type]
    assert rest is not None
    assert (rest.after, rest.seconds, rest.joint, rest.reason) == (after, 180.0, "elbow", reason)


def test_no_rest_is_proposed_when_the_plan_ends_before_the_limit() -> None:
    assert propose_rest(hot(7.4), [cell()] * 7) is None  # type: ignore[arg-type]
    assert propose_rest(hot(7.4), []) is None  # type: ignore[arg-type]
    assert propose_rest({"base": motor_status()}, [cell()] * 7) is None
