"""Fixtures for tests with LeRobot's own motor buses."""

from __future__ import annotations

from typing import Any

import pytest

RESPONSE_MS = 5000.0
"""Longest wait of LeRobot's buses for an emulated motor [ms]."""


@pytest.fixture
def lerobot_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let LeRobot's motor buses wait longer for a response.

    LeRobot waits 50 ms for Feetech servos, 34 ms for Dynamixel servos and 100 ms for Damiao motors, then raises an
    error. These are generous for hardware, but the emulated motors run in a thread of this process, which a busy
    machine may not schedule for that long. A response that arrives in time is processed exactly as before.
    """
    from dynamixel_sdk import port_handler
    from lerobot.motors.damiao.damiao import DamiaoMotorsBus
    from lerobot.motors.feetech import feetech

    def set_packet_timeout(port: Any, packet_length: int) -> None:
        port.packet_start_time = port.getCurrentTime()
        port.packet_timeout = port.tx_time_per_byte * packet_length + RESPONSE_MS

    handshake = DamiaoMotorsBus._handshake

    def wait_longer(bus: Any) -> None:
        receive = bus.canbus.recv
        # The handshake empties the bus with a timeout of 10 ms and waits 100 ms for each motor.
        bus.canbus.recv = lambda timeout: receive(timeout=RESPONSE_MS / 1e3 if timeout >= 0.1 else timeout)
        try:
            handshake(bus)
        finally:
            bus.canbus.recv = receive

    monkeypatch.setattr(feetech, "patch_setPacketTimeout", set_packet_timeout)
    monkeypatch.setattr(port_handler.PortHandler, "setPacketTimeout", set_packet_timeout)
    monkeypatch.setattr(DamiaoMotorsBus, "_handshake", wait_longer)
