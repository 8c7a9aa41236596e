"""A serial port as both vendors' packet handlers want one, Feetech's and ROBOTIS's: they differ only in their frames.

The SDKs' own ports spin while they wait and give every answer 34 ms; this one sleeps until bytes come, knows when an
answer is overdue, and belongs to one program at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import termios
import time
from typing import Any

import serial
from serial.tools import list_ports

from waldo.errors import HardwareError

READ_S = 0.002
"""Longest sleep for bytes before an overdue answer is noticed [s]."""
BITS_PER_BYTE = 10
"""Start bit, eight of data, stop bit."""


class SerialPort:
    """An open port; methods in camel case are those that the SDKs' packet handlers call."""

    def __init__(self, name: str, baudrate: int, answer_s: float) -> None:
        """Open a port for this program alone.

        Args:
            name: the device, /dev/ttyACM0.
            baudrate: bits a second.
            answer_s: how long an answer may take beyond its time on the wire [s].

        Raises:
            HardwareError: it is not there, not allowed or in use.
        """
        self.name, self.is_using = name, False
        self._baudrate, self._answer_s, self._deadline = baudrate, answer_s, 0.0
        try:
            self._serial: Any = serial.Serial(name, baudrate, timeout=READ_S, write_timeout=1.0, exclusive=True)
        except (serial.SerialException, ValueError) as error:
            raise HardwareError(_why_not(name, error)) from error
        with contextlib.suppress(OSError, AttributeError):
            # Programs that do not ask for a lock are kept out too, where they are not root's.
            fcntl.ioctl(self._serial.fd, termios.TIOCEXCL)
        with contextlib.suppress(OSError, ValueError, NotImplementedError, AttributeError):
            # An FTDI adapter keeps each answer for 16 ms unless it is told otherwise.
            self._serial.set_low_latency_mode(True)

    def close(self) -> None:
        """Close it; an unplugged one too."""
        self._serial.close()

    def _lost(self, error: Exception) -> HardwareError:
        text = " ".join(str(error).split())
        return HardwareError(f"{self.name} is gone ({text}); check the USB plug and the adapter, then connect again")

    def clearPort(self) -> None:  # noqa: N802
        """Forget what came too late for the last question."""
        try:
            self._serial.reset_input_buffer()
        except (serial.SerialException, termios.error, OSError, ValueError) as error:
            raise self._lost(error) from error

    def writePort(self, packet: Any) -> int:  # noqa: N802
        """Send bytes; return how many."""
        try:
            return int(self._serial.write(bytes(packet)) or 0)
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from error

    def readPort(self, length: int) -> bytes:  # noqa: N802
        """Return up to `length` bytes: as soon as they are there, or what came within READ_S."""
        try:
            return bytes(self._serial.read(length))
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._lost(error) from error

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
        """Wait for so many bytes from now on."""
        self._deadline = time.monotonic() + packet_length * BITS_PER_BYTE / self._baudrate + self._answer_s

    def setPacketTimeoutMillis(self, msec: float) -> None:  # noqa: N802
        """Wait so long from now on [ms]."""
        self._deadline = time.monotonic() + msec / 1000

    def isPacketTimeout(self) -> bool:  # noqa: N802
        """Say whether the answer is overdue."""
        return time.monotonic() > self._deadline

    def getBaudRate(self) -> int:  # noqa: N802
        """Return the bits a second."""
        return self._baudrate


def _why_not(name: str, error: Exception) -> str:
    """Return why a port cannot be opened, and what to do."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        there = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
        return f"no port {name}; plug the adapter in and name one of those that are there: {there}"
    if number == errno.EACCES:
        return f"no right to open {name}; add yourself to its group: sudo usermod -aG dialout $USER, then log in again"
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in str(error):
        return f"{name} is in use by another program; end it first"
    return f"cannot open {name} ({' '.join(str(error).split())}); name a serial port and a bit rate that it has"
