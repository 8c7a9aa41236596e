"""An emulated SO-101 with Feetech or Dynamixel servos, for tests of the servo drivers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from waldo.robots.description import load_robot
from waldo.robots.drivers import dynamixel, feetech
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos

SO101 = load_robot("so101")
DRIVERS: dict[str, tuple[Any, Any]] = {
    "feetech": (FeetechServos, feetech.FeetechDriver),
    "dynamixel": (DynamixelServos, dynamixel.DynamixelDriver),
}
"""Vendor -> emulated servos and driver."""


class Bench:
    """An emulated SO-101 and the driver of its servos."""

    def __init__(self, vendor: str, *, calibrated: bool = True) -> None:
        self.vendor = vendor
        emulator, self.driver_class = DRIVERS[vendor]
        self.plant = EmulatedJoints(SO101)
        self.servos = emulator(self.plant, calibrated=calibrated)

    def driver(self, **options: object) -> Any:
        # A busy machine may pause a process for seconds.
        timeouts = {"motor_timeout_s": 20.0, "response_timeout_s": 1.0}
        return self.driver_class(SO101, **{"port": self.servos.port, **timeouts, **options})

    @property
    def enable(self) -> int:
        """Address of the register that enables the torque."""
        return 40 if self.vendor == "feetech" else 64


def until(driver: Any, done: Callable[[Any], bool]) -> Any:
    """Return the first state for which `done(state)`."""
    deadline = time.monotonic() + 60
    while not done(state := driver.read()):
        assert time.monotonic() < deadline, state
    return state
