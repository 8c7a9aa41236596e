"""Options of the `robstride` driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from waldo.robots.drivers.can_robot import CanOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RobStrideOptions(CanOptions):
    """Options of the `robstride` driver."""

    protocol: Literal["private", "mit"] = "private"
    """Protocol to which the motors are set: private, in which they are delivered, or mit (communication type 25, 2)."""
    host: int = 0xFD
    """CAN id of this computer."""
    can_timeout_s: float = 0.0
    """Private protocol: time without frames after which the motors disable their torque [s]; with 0 they hold
    indefinitely."""
