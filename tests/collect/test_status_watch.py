import pytest

from waldo.collect.status_watch import HOLD_S, StatusChange, StatusWatch
from waldo.robots.diagnostics import ERROR, OK, WARN

S = 1_000_000_000


def test_the_first_status_and_every_change_are_returned_once() -> None:
    watch = StatusWatch()
    first = watch.update("elbow", OK, "ready", 1)
    assert first == StatusChange(name="elbow", level=OK, text="ready", at_ns=1, previous_level=None)
    assert watch.update("elbow", OK, "ready", 2) is None
    assert watch.update("elbow", WARN, "overload", 3) == StatusChange(
        name="elbow", level=WARN, text="overload", at_ns=3, previous_level=OK
    )
    assert watch.update("elbow", WARN, "overload", 4) is None
    assert watch.update("elbow", WARN, "stuck sensor", 5) is not None
    assert watch.update("elbow", ERROR, "stuck sensor", 6) is not None
    assert watch.update("wrist", WARN, "overload", 7) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("winding at 41.0 °C", "winding at 42.5 °C"),
        ("no frame for 3 s", "no frame for 12 s"),
        ("off by -0.5 rad", "off by 0.25 rad"),
        ("current 1e-05 A", "current 2 A"),
    ],
)
def test_figures_in_a_text_are_not_a_change(before: str, after: str) -> None:
    watch = StatusWatch()
    watch.update("elbow", WARN, before, 0)
    assert watch.update("elbow", WARN, after, 1) is None


@pytest.mark.parametrize(
    ("before", "after"), [("joint_1 is stuck", "joint_2 is stuck"), ("camera2 lost", "camera3 lost")]
)
def test_numbers_in_names_are_a_change(before: str, after: str) -> None:
    watch = StatusWatch()
    watch.update("control", WARN, before, 0)
    assert watch.update("control", WARN, after, 1) is not None


def test_a_lower_level_is_returned_after_it_has_lasted() -> None:
    watch = StatusWatch()
    watch.update("elbow", WARN, "overload", 0)
    assert watch.update("elbow", OK, "ready", 10) is None
    assert watch.update("elbow", OK, "ready", 10 + round(HOLD_S * S) - 1) is None
    change = watch.update("elbow", OK, "ready", 10 + round(HOLD_S * S))
    assert change is not None
    assert (change.level, change.previous_level) == (OK, WARN)


def test_a_value_that_varies_around_a_threshold_is_returned_once() -> None:
    watch = StatusWatch()
    changes = [
        watch.update("elbow", WARN if tick % 2 else OK, "warm" if tick % 2 else "cool", tick * S // 10)
        for tick in range(100)
    ]
    assert [change.text for change in changes if change] == ["cool", "warm"]


def test_faults_are_the_present_warnings_and_errors() -> None:
    watch = StatusWatch()
    watch.update("elbow", WARN, "overload", 0)
    watch.update("wrist", OK, "ready", 0)
    assert [change.name for change in watch.faults] == ["elbow"]
    watch.update("elbow", OK, "ready", 1)
    watch.update("elbow", OK, "ready", 2 * S)
    assert watch.faults == []
    assert watch.reported("elbow").text == "ready"  # type: ignore[union-attr]
    assert watch.reported("claw") is None
