"""Serial buses of LeRobot's robots: an answer that arrives late is never taken for the answer to the next request.

A servo's answer carries its id, but not what it answers. LeRobot gives up after 50 ms; the vendors' SDKs then leave
what arrives later in the receive buffer, so that from then on every request receives the answer to the one before: a
current becomes a position. Here the buffer is emptied before each request, and after a failed one the line is first
given time for the rest. Written for LeRobot 0.6.1, whose names a test pins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

LATEST_S = 0.3
"""Time after a failed request in which its answer may still arrive [s]."""

POLL_S = 0.005
"""Interval at which the buffer is emptied meanwhile [s]."""


def discard_late_answers(device: Any) -> None:
    """Guard every serial bus of a LeRobot device, before it is connected."""
    for bus in serial_buses(device):
        _Guard(bus)


def motor_buses(device: Any) -> dict[str, Any]:
    """Return prefix of the joints' names -> motor bus; a pair of arms has two, with the prefixes left_ and right_."""
    arms = {"": device, "left_": getattr(device, "left_arm", None), "right_": getattr(device, "right_arm", None)}
    return {prefix: arm.bus for prefix, arm in arms.items() if getattr(arm, "bus", None) is not None}


def serial_buses(device: Any) -> Iterator[Any]:
    """Yield the buses of serial servos of a LeRobot device and of the devices that it consists of, such as two arms."""
    for part in (device, *vars(device).values()):
        bus = getattr(part, "bus", None)
        if hasattr(bus, "port_handler") and hasattr(bus, "_is_comm_success"):
            yield bus


class _Guard:
    """Takes the place of the method with which the SDK clears the port before each request."""

    def __init__(self, bus: Any) -> None:
        self._port, self._is_success = bus.port_handler, bus._is_comm_success  # noqa: SLF001
        self._failed = False
        bus._is_comm_success = self._note  # noqa: SLF001
        self._port.clearPort = self._clear

    def _note(self, comm: int) -> bool:
        """Return whether a request succeeded, as LeRobot's method does, and remember a failure."""
        success = bool(self._is_success(comm))
        self._failed = self._failed or not success
        return success

    def _clear(self) -> None:
        line = self._port.ser
        if self._failed:
            end_s = time.monotonic() + LATEST_S
            while time.monotonic() < end_s:
                line.reset_input_buffer()
                time.sleep(POLL_S)
            self._failed = False
        line.reset_input_buffer()
        line.flush()
