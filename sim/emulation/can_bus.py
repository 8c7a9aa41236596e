"""Emulated CAN motors: they answer the manufacturer's frames on a python-can bus and move the joints of a MuJoCo model.

For tests, and for trying a driver without the robot. The emulation is written from the manufacturers' manuals,
independently of the drivers, so that an error on one side is detected. Faults can be injected: a motor that does not
respond, an error code, a hot winding, a wrong supply voltage.

Bus errors: error classes of linux/can/error.h.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from waldo.robots.drivers.mit import Range
from waldo.sim.emulation.drives import Drives, Law
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.motion_profile import MotionProfiles
from waldo.typing import Array

STEP_S = 0.002
"""Longest wait for a frame between two steps of the joints [s]."""


def to_count(value: float, limit: float, bits: int) -> int:
    """Return a value between -limit and limit as an unsigned integer of `bits` bits."""
    ratio = (min(max(value, -limit), limit) + limit) / (2 * limit)
    return int(ratio * ((1 << bits) - 1) + 0.5)


def from_count(count: int, lower: float, upper: float, bits: int) -> float:
    """Return the value of an unsigned integer of `bits` bits."""
    return lower + (upper - lower) * count / ((1 << bits) - 1)


class CanMotors(Drives):
    """Motors on one bus, in their own thread; a context manager. Joint i is the motor with `ids[i]`.

    Angles are those of the joint: a motor's own angle, whose zero can be set, is the joint's angle minus `zeros`.
    """

    lead: ClassVar[float] = 0.2
    limit_c: ClassVar[float] = 120.0
    """Winding temperature at which a motor disables itself [°C]."""
    nominal_v: ClassVar[float]
    """Supply voltage, unless it is set [V]."""

    def __init__(self, joints: Joints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Attach motors to an open python-can bus.

        Args:
            joints: Joints that the motors drive.
            bus: Open `can.Bus`; it is closed on exit.
            ids: CAN id of each motor.
            ranges: Ranges of position, velocity and torque that each motor's frames cover.
        """
        self.joints, self.ids, self.ranges = joints, list(ids), tuple(ranges)
        motors = len(self.ids)
        self.silent: set[int] = set()
        """Indices of motors that do not respond, as if unplugged."""
        self.enabled = [False] * motors
        self.fault = [0] * motors
        """Error code of each motor, in the manufacturer's numbering."""
        self.driver_c = np.full(motors, 35.0)
        self.supply_v = self.nominal_v
        """Supply voltage [V]; writable."""
        self.zeros = np.zeros(motors)
        """Joint angles at which the motors report 0 [rad]; writable."""
        self.paths = MotionProfiles(joints.position)
        self.quiet_s = np.zeros(motors)
        """Time since the last frame for each motor [s]."""
        self.commands = 0
        """Number of commands received."""
        self._bus = bus
        self._setpoints = [Law()] * motors
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="can motors")

    def __enter__(self) -> Self:
        """Start to respond."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and close the bus."""
        self._ended.set()
        self._thread.join(30)
        self._bus.shutdown()

    def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
        """Send a frame."""
        import can

        self._bus.send(can.Message(arbitration_id=frame_id, data=data, is_extended_id=extended))

    def put_error_frame(self, bits: int) -> None:
        """Make the readers' adapters report a bus error (error class of linux/can/error.h)."""
        import can

        self._bus.send(can.Message(arbitration_id=bits, is_error_frame=True, data=bytes(8)))

    def _work(self) -> None:
        import can

        last = time.monotonic()
        while not self._ended.is_set():
            message = None
            # Such as a datagram of another program on a multicast address.
            with contextlib.suppress(can.CanError):
                message = self._bus.recv(STEP_S)
            now = time.monotonic()
            with self.joints.lock:
                self.joints.advance(now - last)
                self.quiet_s += now - last
                self.advance(now - last)
                if message is not None and not message.is_error_frame:
                    # A motor ignores frames that it cannot read.
                    with contextlib.suppress(IndexError, struct.error, can.CanError):
                        self.answer(message)
                        self.apply()
            last = now

    def protect(self, seconds: float) -> None:
        """Disable motors that are too hot."""
        del seconds
        for motor, winding_c in enumerate(self.joints.heat[:, 0]):
            if winding_c >= self.hot_limit(motor):
                self.trip(motor, self.too_hot)

    def hot_limit(self, motor: int) -> float:
        """Return the winding temperature at which a motor disables itself [°C]."""
        del motor
        return self.limit_c

    too_hot: ClassVar[int] = 0
    """Error code of an overheated winding."""

    def trip(self, motor: int, fault: int) -> None:
        """Disable a motor with an error, unless it has one."""
        if not self.fault[motor]:
            self.fault[motor] = fault
            self.switch(motor, False)

    def is_on(self, joint: int) -> bool:
        """Return whether a motor is enabled."""
        return self.enabled[joint]

    def switch(self, motor: int, on: bool) -> None:
        """Enable or disable a motor; a motor with an error stays disabled."""
        self.enabled[motor] = on and not self.fault[motor]
        if not self.enabled[motor]:
            self._setpoints[motor] = Law()
        self.apply()

    def command(self, motor: int, law: Law) -> None:
        """Execute an MIT command, whose position is the motor's own angle."""
        self._setpoints[motor] = law._replace(position=law.position + float(self.zeros[motor]))
        self.commands += 1

    def impedance(self, motor: int) -> Law:
        """Return the law of the last MIT command; no torque before the first one."""
        return self._setpoints[motor] if self.enabled[motor] else Law()

    def follow(self, motor: int, limit: float) -> Law:
        """Return the law of a position or velocity controller: the setpoint is followed with the model's stiffness."""
        position, velocity = float(self.paths.position[motor]), float(self.paths.velocity[motor])
        stiffness, damping = float(self.joints.stiffness[motor]), float(self.joints.damping[motor])
        return Law(position, velocity, stiffness, damping, 0.0, min(max(limit, 0.0), 1.0))

    def measured(self) -> Array:
        """Return the joint angles, (joints,) [rad]."""
        return np.asarray(self.joints.position)

    def angle(self, motor: int) -> float:
        """Return the angle that a motor reports [rad]."""
        return float(self.joints.position[motor] - self.zeros[motor])

    def set_zero(self, motor: int) -> None:
        """Make the present angle the motor's zero."""
        self.zeros[motor] = self.joints.position[motor]

    def answer(self, message: Any) -> None:
        """Process one frame and send the responses."""
        raise NotImplementedError
