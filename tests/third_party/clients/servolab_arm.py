"""servolab: two servos on a port. Its units are SI; argument: the port."""

import sys

from patience import patiently, until
from servolab.bus import Bus
from servolab.ports import feetech_port

feetech_port.NORMAL_TIMEOUT_MS = 3000
bus = Bus(feetech_port.FeetechPort(sys.argv[1]))
feetech_port.SCAN_TIMEOUT_MS = 1000
bus.port.ping.__func__.__defaults__ = (3000,)
scan = bus.port.ping
bus.port.ping = lambda identity, timeout_ms=3000: scan(identity, 3000 if identity < 3 else 100)
assert patiently(bus.scan, range(0, 4)) == [1, 2]
m = bus[1]
assert m.model == "STS3215"
assert (m.info["mode"], m.info["torque_enabled"], m.info["status"]) == ("position", False, [])

# Read values.
assert 20 <= m.temperature <= 40
assert 11 <= m.voltage <= 12.1
assert abs(m.current) < 0.1
feedback = bus.read_feedback()
assert feedback.ids == [1, 2]

# Move, alone and both, with speed and acceleration.
m.torque_enabled = True
m.move_to(0.5, speed=2.0, acceleration=20.0, wait=True, timeout=60)
assert abs(m.position - 0.5) < 0.02
bus.move_to([0.2, -0.3], speed=3.0, wait=True, timeout=60)
assert all(abs(a - b) < 0.02 for a, b in zip(bus.read_feedback().position, (0.2, -0.3), strict=True))

# The present position becomes zero, without motion, and is stored.
m.set_zero()
until(lambda: abs(m.position) < 0.01)
assert m.read_register("homing_offset") != 0

# In the velocity mode the same zero applies: servolab subtracts the offset that the servo ignores there.
m.mode = "velocity"
assert abs(m.position) < 0.01, m.position
m.torque_enabled = True
for speed in (2.0, -2.0):
    m.velocity = speed
    until(lambda speed=speed: abs(m.velocity - speed) < 0.15)
m.velocity = 0.0
until(lambda: m.velocity == 0.0 and not m.moving)

# PWM: more than 0 turns towards larger angles.
m.mode = "pwm"
for pwm in (0.3, -0.3):
    m.pwm = pwm
    until(lambda pwm=pwm: m.velocity * pwm > 0.15)
m.pwm = 0.0
m.torque_enabled = False

# Registers, gains, and a factory reset that keeps id and zero.
m.pid = (20, 1, 30)
assert m.pid == (20, 1, 30)
zero = m.read_register("homing_offset")
m.factory_reset()
assert (m.pid[0], m.mode, m.id) == (32, "position", 1)
assert m.read_register("homing_offset") == zero

# A new id.
bus[2].id = 5
assert bus.read_feedback().ids == [1, 5]
bus.disconnect()
