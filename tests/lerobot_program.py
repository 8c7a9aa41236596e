"""Runs LeRobot's command line programs with emulated hardware, and with patience: `run_lerobot("calibrate", ...)`.

LeRobot waits 34 or 50 ms for a serial servo, then ends with an error. That is generous for hardware, but a busy machine
may not schedule the emulation in that time.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

RESPONSE_MS = 5000.0
"""Longest wait for an emulated motor [ms]."""
TIMEOUT_S = 600
"""Longest duration of a program [s]."""


def run_lerobot(program: str, *options: str, input_text: str = "", home: Path | None = None) -> str:
    """Run a program such as "setup_motors" (lerobot-setup-motors) and return what it printed.

    Args:
        program: Name of the program.
        options: Its options.
        input_text: Its standard input.
        home: Where it stores calibrations and datasets; by default in the user's home.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if home is not None:
        environment["HF_LEROBOT_HOME"] = str(home)
    done = subprocess.run(
        [sys.executable, __file__, program, *options],
        input=input_text,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def _wait_longer() -> None:
    """Let LeRobot's serial buses wait longer for a response."""
    from dynamixel_sdk import port_handler
    from lerobot.motors.feetech import feetech

    def set_packet_timeout(port: object, packet_length: int) -> None:
        port.packet_start_time = port.getCurrentTime()  # type: ignore[attr-defined]
        port.packet_timeout = port.tx_time_per_byte * packet_length + RESPONSE_MS  # type: ignore[attr-defined]

    feetech.patch_setPacketTimeout = set_packet_timeout
    port_handler.PortHandler.setPacketTimeout = set_packet_timeout


if __name__ == "__main__":
    _wait_longer()
    script = importlib.import_module(f"lerobot.scripts.lerobot_{sys.argv[1]}")
    sys.argv = [f"lerobot-{sys.argv[1].replace('_', '-')}", *sys.argv[2:]]
    sys.exit(script.main())
