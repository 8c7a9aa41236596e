"""A serial port with the interface that the packet handlers of Feetech's and ROBOTIS's SDKs expect.

The port classes of the SDKs poll in a busy loop and wait at least 34 ms for every response. This one sleeps until bytes
arrive, has a configurable response timeout, and locks the device.
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

RECEIVE_BYTES = 256
"""Bytes that are discarded at once."""
READ_S = 0.002
"""Longest wait for bytes before the response timeout is checked [s]."""
DRAIN_S = 1.0
"""Longest time for which a line that does not become silent is drained [s]."""
BITS_PER_BYTE = 10
"""One start bit, eight data bits and one stop bit."""


class SerialPort:
    """An open serial port; the methods in camel case are called by the SDKs' packet handlers."""

    def __init__(self, name: str, baudrate: int, response_timeout_s: float) -> None:
        """Open and lock a port.

        Args:
            name: The device, such as /dev/ttyACM0.
            baudrate: Baud rate [bit/s].
            response_timeout_s: Longest wait for a response beyond its time on the wire [s].

        Raises:
            HardwareError: If the port does not exist, is in use or cannot be opened.
        """
        self.name, self.is_using = name, False
        self._baudrate, self._deadline = baudrate, 0.0
        self.response_timeout_s = response_timeout_s
        """Longest wait for a response beyond its time on the wire [s]."""
        try:
            port: Any = serial.Serial(name, baudrate, timeout=READ_S, write_timeout=1.0, exclusive=True)
        except (serial.SerialException, ValueError) as error:
            raise HardwareError(_explain(name, error)) from error
        self._serial = port
        with contextlib.suppress(OSError, AttributeError):
            # Also keeps out programs that do not lock the device, unless they run as root.
            fcntl.ioctl(port.fd, termios.TIOCEXCL)
        with contextlib.suppress(OSError, ValueError, NotImplementedError, AttributeError):
            # By default, an FTDI adapter buffers responses for up to 16 ms.
            self._serial.set_low_latency_mode(True)

    def close(self) -> None:
        """Close the port; also works after it has been unplugged."""
        # A pseudo-terminal would stay exclusive: it refuses the next user who has no privileges.
        with contextlib.suppress(OSError, termios.error, TypeError, ValueError):
            fcntl.ioctl(self._serial.fd, termios.TIOCNXCL)
        self._serial.close()

    def set_baudrate(self, baudrate: int) -> None:
        """Change the baud rate [bit/s]."""
        try:
            self._serial.baudrate = baudrate
        except (serial.SerialException, termios.error, OSError, ValueError) as error:
            raise self._lost(error) from error
        self._baudrate = baudrate

    def _lost(self, error: Exception) -> HardwareError:
        text = " ".join(str(error).split())
        return HardwareError(
            f"{self.name} was disconnected ({text}); check the USB plug and the adapter, then connect again"
        )

    def clearPort(self) -> None:  # noqa: N802
        """Discard responses to earlier requests."""
        try:
            self._serial.reset_input_buffer()
        except (serial.SerialException, termios.error, OSError, ValueError) as error:
            raise self._lost(error) from error

    def drain(self, silent_s: float) -> None:
        """Discard bytes until none has arrived for `silent_s` [s], at most for DRAIN_S."""
        now = time.monotonic()
        end, silent_at = now + DRAIN_S, now + silent_s
        while now < min(silent_at, end):
            received = self.readPort(RECEIVE_BYTES)
            now = time.monotonic()
            if received:
                silent_at = now + silent_s

    def writePort(self, packet: Any) -> int:  # noqa: N802
        """Send bytes; return their number."""
        try:
            return int(self._serial.write(bytes(packet)) or 0)
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from error

    def readPort(self, length: int) -> bytes:  # noqa: N802
        """Return up to `length` bytes: as soon as all have arrived, or those that arrived within READ_S."""
        try:
            return bytes(self._serial.read(length))
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._lost(error) from error

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
        """Start the timeout of a response of `packet_length` bytes."""
        self._deadline = time.monotonic() + packet_length * BITS_PER_BYTE / self._baudrate + self.response_timeout_s

    def setPacketTimeoutMillis(self, msec: float) -> None:  # noqa: N802
        """Start a timeout [ms]."""
        self._deadline = time.monotonic() + msec / 1000

    def isPacketTimeout(self) -> bool:  # noqa: N802
        """Return whether the timeout has elapsed."""
        return time.monotonic() > self._deadline

    def getBaudRate(self) -> int:  # noqa: N802
        """Return the baud rate [bit/s]."""
        return self._baudrate


def _explain(name: str, error: Exception) -> str:
    """Return why a port cannot be opened and what to do about it."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        ports = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
        return f"serial port {name} does not exist (available: {ports}); plug the adapter in, or select another port"
    if number == errno.EACCES:
        return f"no permission to open {name}; run: sudo usermod -aG dialout $USER, then log in again"
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in str(error):
        return f"{name} is in use by another program; stop that program first"
    return f"cannot open {name} ({' '.join(str(error).split())}); check the port and the baud rate"
