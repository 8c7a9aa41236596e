"""A serial port is exclusive while it is open, and for no longer."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator

import pytest

from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.robots.drivers.serial_port import SerialPort
from waldo.sim.emulation.emulated_joints import EmulatedJoints

TIOCGEXCL = 0x80045440
"""From linux/tty.h; the module termios lacks it."""


def is_exclusive(descriptor: int) -> bool:
    return bool(struct.unpack("i", fcntl.ioctl(descriptor, TIOCGEXCL, bytes(4)))[0])


@pytest.fixture
def pair() -> Iterator[tuple[str, int]]:
    """A pseudo-terminal that nothing else uses: its name and an open descriptor."""
    master, slave = os.openpty()
    yield os.ttyname(slave), slave
    os.close(master)
    os.close(slave)


def test_a_port_is_exclusive_until_it_is_closed(pair: tuple[str, int]) -> None:
    name, slave = pair
    port = SerialPort(name, 1_000_000, 0.02)
    assert is_exclusive(slave)
    port.close()
    assert not is_exclusive(slave)


def test_an_emulated_port_does_not_stay_exclusive_when_its_user_was_killed() -> None:
    with DRIVERS["feetech"][0](EmulatedJoints(SO101)) as servos:
        user = SerialPort(servos.port, 1_000_000, 0.02)
        own = os.open(servos.port, os.O_RDWR | os.O_NOCTTY) if os.geteuid() == 0 else servos._slave
        os.close(user._serial.fd)  # as the kernel does when the process ends
        user._serial.fd = None
        deadline = time.monotonic() + 60
        while is_exclusive(own):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if own != servos._slave:
            os.close(own)
