"""Motors that often do not answer are named before an episode."""

from __future__ import annotations

import pytest

from waldo.collect.recorder.checks.intermittent_faults import FEW, WINDOW_NS, IntermittentFaults
from waldo.robots.diagnostics import OK, WARN, MotorStatus

GOOD = {"elbow": MotorStatus(message="winding at 30 °C")}


def silent(text: str = "no response for 40 ms", level: int = WARN) -> dict[str, MotorStatus]:
    return {"elbow": MotorStatus(level=level, message=text)}


@pytest.mark.parametrize("period_ns", [200_000_000, 10**9, 9 * 10**9])
def test_a_motor_that_often_does_not_answer_is_named_until_it_has_answered_for_a_while(period_ns: int) -> None:
    faults = IntermittentFaults()
    for k in range(FEW):
        assert faults.gates(k * period_ns) == []
        faults.add(silent(), k * period_ns)
        faults.add(GOOD, k * period_ns + period_ns // 2)
    (gate,) = faults.gates(FEW * period_ns)
    assert gate.name == "bus elbow"
    assert gate.reason == "3 times in 30 s: no response for 40 ms; check its cable and connectors"
    assert faults.gates(WINDOW_NS + 1) == []


def test_a_motor_that_does_not_answer_for_long_counts_once() -> None:
    faults = IntermittentFaults()
    for k in range(100):
        faults.add(silent(f"no response for {k * 100} ms"), k * 10**8)
    assert faults.gates(10**10) == []


def test_other_statuses_do_not_count() -> None:
    faults = IntermittentFaults()
    for k in range(10):
        faults.add(silent("winding at 60 °C"), k)
        faults.add(silent(level=OK), k)
    assert faults.gates(10) == []
