"""Gates: what an evaluation must reach for `waldo eval` to exit with 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError

KEYS = {
    "success": "share of episodes that succeeded",
    "success_lower": "lower end of its 95 % Wilson interval",
}
"""What can be required, each a number from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A value that must not fall short."""

    key: str
    """One of KEYS."""
    least: float
    """The least that passes."""


def parse_gate(text: str) -> Gate:
    """Read "success=0.8"."""
    key, equals, number = text.partition("=")
    if key not in KEYS:
        raise UnknownNameError("gate", key, KEYS)
    try:
        least = float(number)
    except ValueError:
        least = -1.0
    if not equals or not 0 <= least <= 1:
        raise InvalidValueError(
            "fail-under", text, f"{key}=NUMBER with a number from 0 to 1", f"for instance {key}=0.8"
        )
    return Gate(key, least)


def failures(
    gates: Sequence[Gate], values: Mapping[str, float], peak_winding_c: Mapping[str, float], max_winding_c: float | None
) -> list[str]:
    """Return one line for each gate that was not passed."""
    lines = [
        f"gate failed: {gate.key} is {values[gate.key]:.3f}, required at least {gate.least:g}"
        for gate in gates
        if values[gate.key] < gate.least
    ]
    if max_winding_c is not None:
        lines += [
            f"gate failed: the winding of {joint} reached {peak:.1f} °C, allowed at most {max_winding_c:g} °C"
            for joint, peak in peak_winding_c.items()
            if peak > max_winding_c
        ]
    return lines
