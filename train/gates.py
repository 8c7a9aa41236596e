"""Gates: conditions that an evaluation must meet for `waldo eval` to exit with 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError

KEYS = {
    "success": "fraction of episodes that succeeded",
    "success_lower": "lower end of its 95 % Wilson interval",
}
"""Values that a gate can require, each from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A value with a minimum."""

    key: str
    """One of KEYS."""
    minimum: float
    """The smallest value that passes."""


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


def failures(
    gates: Sequence[Gate], values: Mapping[str, float], max_winding_c: Mapping[str, float], limit_c: float | None
) -> list[str]:
    """Return one line for each gate that failed.

    Args:
        gates: The gates.
        values: The evaluation's value of each key.
        max_winding_c: Joint -> maximum winding temperature [°C].
        limit_c: The highest winding temperature that passes [°C]; None: any.
    """
    lines = [
        f"gate failed: {gate.key} is {values[gate.key]:.3f}, required at least {gate.minimum:g}"
        for gate in gates
        if values[gate.key] < gate.minimum
    ]
    if limit_c is not None:
        lines += [
            f"gate failed: the winding of {joint} reached {highest:.1f} °C, allowed at most {limit_c:g} °C"
            for joint, highest in max_winding_c.items()
            if highest > limit_c
        ]
    return lines
