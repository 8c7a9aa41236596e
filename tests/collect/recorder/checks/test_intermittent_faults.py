"""Motors that often do not answer are named before an episode."""

from __future__ import annotations

from waldo.collect.recorder.checks.intermittent_faults import FEW, WINDOW_NS, IntermittentFaults
from waldo.collect.status_watch import StatusChange
from waldo.robots.diagnostics import OK, WARN


def silent(at_ns: int, text: str = "no response for 40 ms", level: int = WARN) -> StatusChange:
    return StatusChange(name="elbow", level=level, text=text, at_ns=at_ns)


def test_a_motor_that_often_does_not_answer_is_named_until_it_has_answered_for_a_while() -> None:
    faults = IntermittentFaults()
    for k in range(FEW):
        assert faults.gates(k * 10**9) == []
        faults.add([silent(k * 10**9)])
    (gate,) = faults.gates(FEW * 10**9)
    assert gate.name == "bus elbow"
    assert gate.reason == "3 times in 30 s: no response for 40 ms; check its cable and connectors"
    assert faults.gates((FEW - 1) * 10**9 + WINDOW_NS + 1) == []


def test_other_statuses_do_not_count() -> None:
    faults = IntermittentFaults()
    for k in range(10):
        faults.add([silent(k, "winding at 60 °C"), silent(k, level=OK)])
    assert faults.gates(10) == []
