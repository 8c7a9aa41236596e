"""A CAN bus accessed through python-can."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from waldo.errors import HardwareError, MissingExtraError

STAMPED = ("socketcan", "udp_multicast", "virtual")
"""Interfaces whose frames carry the time of this machine."""
LONGEST_AGE_S = 0.2
"""Largest plausible age of a frame that is read [s]."""
BUS_OFF = 0x40
"""Bit of an error frame's id that reports the bus-off state (linux/can/error.h, CAN_ERR_BUSOFF)."""


def bus_address(interface: str, channel: str) -> dict[str, Any]:
    """Return python-can's parameters for a channel; one of udp_multicast may contain a port: 239.74.163.2:43114.

    Buses of udp_multicast need different ports: the kernel delivers all groups of a port to every socket on it.
    """
    group, colon, port = channel.rpartition(":")
    # An IPv6 address contains colons itself.
    if interface == "udp_multicast" and colon and "." in group:
        return {"interface": interface, "channel": group, "port": int(port)}
    return {"interface": interface, "channel": channel}


def open_bus(interface: str, channel: str, **options: Any) -> Any:
    """Return an open python-can bus.

    Raises:
        HardwareError: If the bus cannot be opened.
    """
    try:
        import can
    except ImportError:
        raise MissingExtraError("python-can", "can") from None
    try:
        return can.Bus(**bus_address(interface, channel), **options)
    except (can.CanError, OSError, ValueError) as error:
        bitrate = options.get("bitrate", 1_000_000)
        raise HardwareError(
            f"CAN bus {interface}:{channel} cannot be opened ({' '.join(str(error).split())}); "
            f"plug the adapter in and bring it up: ip link set {channel} up type can bitrate {bitrate}"
        ) from error


class CanLink:
    """An open bus; frames are python-can messages."""

    def __init__(self, interface: str, channel: str, bitrate: int, *, fd: bool = False) -> None:
        """Open a CAN bus.

        Args:
            interface: Kind of adapter, as named by python-can: socketcan, slcan, virtual, ...
            channel: Channel of the adapter, such as can0.
            bitrate: Bit rate [bit/s].
            fd: Whether to send CAN FD frames.

        Raises:
            HardwareError: If the bus cannot be opened.
        """
        self._bus: Any = open_bus(interface, channel, bitrate=bitrate, fd=fd)
        import can

        self._can, self._fd = can, fd
        self._is_stamped = interface in STAMPED
        self.name = f"{interface}:{channel}"

    def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
        """Send one frame of up to 8 bytes.

        Raises:
            HardwareError: If the adapter does not accept the frame.
        """
        message = self._can.Message(
            arbitration_id=frame_id, data=data, is_extended_id=extended, is_fd=self._fd, bitrate_switch=self._fd
        )
        try:
            self._bus.send(message, timeout=0.05)
        except (self._can.CanError, OSError) as error:
            raise HardwareError(
                f"CAN bus {self.name} cannot send ({error}); check the motors' power and the bus termination"
            ) from error

    def age_s(self, message: Any) -> float:
        """Return the time since a frame was received [s]; 0 if the adapter has a clock of its own."""
        passed_s = time.time() - message.timestamp if self._is_stamped else 0.0
        return passed_s if 0 < passed_s < LONGEST_AGE_S else 0.0

    def receive(self, timeout_s: float) -> Any | None:
        """Return the next data frame; None if none arrives within `timeout_s` [s].

        Raises:
            HardwareError: If the adapter has been disconnected or is in the bus-off state.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                message = self._bus.recv(max(0.0, deadline - time.monotonic()))
            except (self._can.CanError, OSError) as error:
                raise HardwareError(
                    f"CAN bus {self.name} failed ({error}); check that the adapter is plugged in"
                ) from error
            if message is None:
                return None
            if not message.is_error_frame:
                return message
            if message.arbitration_id & BUS_OFF:
                raise HardwareError(
                    f"CAN bus {self.name} is in the bus-off state after too many errors; check wiring, bit rate and "
                    "termination, then bring the interface down and up again"
                )

    def close(self) -> None:
        """Close the bus."""
        with contextlib.suppress(self._can.CanError, OSError):
            self._bus.shutdown()
