"""The servos that feetech-cli simulates, on a pseudo-terminal: prints its name, and ends with its standard input."""

import os
import select
import sys
import tty

from feetech_cli.simulator import build_demo_bus

bus = build_demo_bus()
master, slave = os.openpty()
tty.setraw(slave)
sys.stdout.write(f"{os.ttyname(slave)}\n")
sys.stdout.flush()
buffer = bytearray()
while True:
    ready, _, _ = select.select([master, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    buffer += os.read(master, 4096)
    while len(buffer) >= 4 and len(buffer) >= buffer[3] + 4:
        frame = bytes(buffer[: buffer[3] + 4])
        del buffer[: len(frame)]
        bus.write(frame)
        os.write(master, bus.read(4096))
