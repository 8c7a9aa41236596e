"""Runs LeRobot's command line programs with emulated hardware, and with patience: `run_lerobot(["calibrate", ...])`.

LeRobot waits 34 or 50 ms for a serial servo, then ends with an error. That is generous for hardware, but a busy machine
may not schedule the emulation in that time. Several programs run one after another in one process, to import once.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RESPONSE_MS = 5000.0
"""Longest wait for an emulated motor [ms]."""
BROADCAST_MS = 1000.0
"""Time for which responses to a broadcast are collected [ms]; at 9,600 bit/s LeRobot waits for four seconds."""
TIMEOUT_S = 600
"""Longest duration of a program [s]."""
NEXT = "--"
"""Separates the arguments of two programs."""


def run_lerobot(*programs: Sequence[str], input_text: str = "", home: Path | None = None) -> str:
    """Run programs such as ["setup_motors", OPTION...] (lerobot-setup-motors) and return what they printed.

    Args:
        programs: Names and options.
        input_text: Their standard input.
        home: Where they store calibrations and datasets; by default in the user's home.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if home is not None:
        environment["HF_LEROBOT_HOME"] = str(home)
    words = [word for program in programs for word in (NEXT, *program)][1:]
    done = subprocess.run(
        [sys.executable, __file__, *words],
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

    wait = port_handler.PortHandler.setPacketTimeoutMillis
    port_handler.PortHandler.setPacketTimeoutMillis = lambda port, ms: wait(port, min(ms, BROADCAST_MS))
    feetech.patch_setPacketTimeout = set_packet_timeout
    port_handler.PortHandler.setPacketTimeout = set_packet_timeout


def _run(program: str, *options: str) -> None:
    """Run one program in this process."""
    sys.argv = [f"lerobot-{program.replace('_', '-')}", *options]
    importlib.import_module(f"lerobot.scripts.lerobot_{program}").main()


if __name__ == "__main__":
    _wait_longer()
    for program in " ".join(sys.argv[1:]).split(f" {NEXT} "):
        _run(*program.split())
