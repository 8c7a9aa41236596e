"""Gates of an evaluation: parsing and failures."""

import pytest

from waldo.errors import InvalidValueError, UnknownNameError
from waldo.train.gates import Gate, failures, parse_gate


def test_gates_are_parsed() -> None:
    assert parse_gate("success=0.8") == Gate("success", 0.8)
    with pytest.raises(UnknownNameError) as unknown:
        parse_gate("sucess=0.8")
    expected = "unknown gate 'sucess'; did you mean 'success'? (known: success, success_lower)"
    assert str(unknown.value) == expected
    for text in ("success", "success=80", "success=much", "success=nan"):
        with pytest.raises(InvalidValueError) as caught:
            parse_gate(text)
        expected = "expected success=NUMBER with a number from 0 to 1; for example success=0.8"
        assert str(caught.value) == f"fail-under is {text!r}, {expected}"


def test_a_failed_gate_has_one_line() -> None:
    gates = [Gate("success", 0.5), Gate("success_lower", 0.5)]
    assert failures(gates, {"success": 0.6, "success_lower": 0.41}, {"gripper": 90.04, "elbow_flex": 60.0}, 80) == [
        "gate failed: success_lower is 0.410, required at least 0.5",
        "gate failed: the winding of gripper reached 90.0 °C, allowed at most 80 °C",
    ]
    assert failures(gates, {"success": 0.6, "success_lower": 0.5}, {"gripper": 80.0}, 80) == []
