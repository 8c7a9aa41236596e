"""Gates: conditions that an evaluation must meet for `waldo eval` to exit with 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError

KEYS = {
    "success": "fraction of episodes that succeeded",
    "success_lower": "lower end of its 95 % Wilson interval",
}
"""Values that a gate can require, each from 0 to 1."""

WRONG_INSTRUCTION = "wrong_instruction"
"""Name of the gate on the control: the rate of the own goal with the instruction of another object."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A value with a minimum."""

    key: str
    """One of KEYS."""
    minimum: float
    """The smallest value that passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A gate, the value that was found and whether it passed."""

    name: str
    """The checked value: one of KEYS, or `max_winding_c` of a joint, such as `max_winding_c of gripper`."""
    value: float
    """The value that was found."""
    minimum: float | None = None
    """The smallest value that passes; None: any."""
    maximum: float | None = None
    """The largest value that passes; None: any."""
    passed: bool
    """Whether the value passed; a value that is not a number does not."""
    text: str
    """What was found and what is required, in words."""


def parse_gate(text: str) -> Gate:
    """Parse a gate such as "success=0.8".

    Raises:
        UnknownNameError: If the key is not one of KEYS.
        InvalidValueError: If the minimum is not a number from 0 to 1.
    """
    key, equals, number = text.partition("=")
    if key not in KEYS:
        raise UnknownNameError("gate", key, KEYS)
    try:
        minimum = float(number)
    except ValueError:
        minimum = -1.0
    if not equals or not 0 <= minimum <= 1:
        raise InvalidValueError("fail-under", text, f"{key}=NUMBER with a number from 0 to 1", f"for example {key}=0.8")
    return Gate(key, minimum)


def check_limit(limit_c: float | None) -> None:
    """Raise InvalidValueError unless a winding limit is None or a finite temperature."""
    if limit_c is not None and not math.isfinite(limit_c):
        raise InvalidValueError("max-winding-c", limit_c, "a temperature in °C", "for example 80")


def check_rate(name: str, rate: float | None) -> None:
    """Raise InvalidValueError unless a rate is None or from 0 to 1."""
    if rate is not None and not 0 <= rate <= 1:
        raise InvalidValueError(name, rate, "a number from 0 to 1", "for example 0.05")


def check_control(rate: float, most: float | None) -> list[GateResult]:
    """Return the gate on the rate of the own goal with a wrong instruction; none if `most` is None."""
    if most is None:
        return []
    name = WRONG_INSTRUCTION
    text = f"{name} is {rate:.3f}, allowed at most {most:g}"
    return [GateResult(name=name, value=rate, maximum=most, passed=rate <= most, text=text)]


def check_gates(
    gates: Sequence[Gate], values: Mapping[str, float], max_winding_c: Mapping[str, float], limit_c: float | None
) -> list[GateResult]:
    """Return the result of each gate.

    Args:
        gates: The gates.
        values: The evaluation's value of each key.
        max_winding_c: Joint -> maximum winding temperature [°C].
        limit_c: The highest winding temperature that passes, a gate for each joint [°C]; None: any.
    """
    results = [
        GateResult(
            name=gate.key,
            value=values[gate.key],
            minimum=gate.minimum,
            passed=values[gate.key] >= gate.minimum,
            text=f"{gate.key} is {values[gate.key]:.3f}, required at least {gate.minimum:g}",
        )
        for gate in gates
    ]
    if limit_c is not None:
        results += [
            GateResult(
                name=f"max_winding_c of {joint}",
                value=highest,
                maximum=limit_c,
                passed=highest <= limit_c,
                text=f"the winding of {joint} reached {highest:.1f} °C, allowed at most {limit_c:g} °C",
            )
            for joint, highest in max_winding_c.items()
        ]
    return results
