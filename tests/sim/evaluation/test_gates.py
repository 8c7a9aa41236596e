"""Gates of an evaluation: parsing and results."""

import math

import pytest

from waldo.errors import InvalidValueError, UnknownNameError
from waldo.sim.evaluation.gates import Gate, check_gates, check_limit, parse_gate


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


def test_every_gate_has_a_result() -> None:
    gates = [Gate("success", 0.5), Gate("success_lower", 0.5)]
    results = check_gates(gates, {"success": 0.6, "success_lower": 0.41}, {"gripper": 90.04, "elbow_flex": 60.0}, 80)
    assert [(one.name, one.passed) for one in results] == [
        ("success", True),
        ("success_lower", False),
        ("max_winding_c of gripper", False),
        ("max_winding_c of elbow_flex", True),
    ]
    assert results[1].text == "success_lower is 0.410, required at least 0.5"
    assert results[2].text == "the winding of gripper reached 90.0 °C, allowed at most 80 °C"
    assert (results[1].minimum, results[2].maximum, results[2].value) == (0.5, 80, 90.04)


def test_limits_are_inclusive_and_a_value_that_is_no_number_fails() -> None:
    values = {"success": 0.6, "success_lower": 0.5}
    assert all(one.passed for one in check_gates([Gate("success_lower", 0.5)], values, {"gripper": 80.0}, 80))
    assert not check_gates([], values, {"gripper": math.nan}, 80)[0].passed


def test_a_limit_is_a_finite_temperature() -> None:
    check_limit(None)
    check_limit(80.0)
    for limit in (math.nan, math.inf):
        with pytest.raises(InvalidValueError) as caught:
            check_limit(limit)
        assert str(caught.value) == f"max-winding-c is {limit}, expected a temperature in °C; for example 80"
