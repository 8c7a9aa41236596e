"""robstride-dynamics: two motors on a CAN bus over UDP multicast instead of SocketCAN; argument: the channel."""

import sys
import time

import multicast
from patience import patiently, until
from robstride_dynamics import Motor, ParameterType, RobstrideBus

multicast.use(sys.argv[1])
receive = RobstrideBus.receive
RobstrideBus.receive = lambda bus, timeout=None: receive(bus, 20.0)
bus = RobstrideBus("can0", {"a": Motor(1, "rs-02"), "b": Motor(2, "rs-04")})
bus.connect()

# Identities and parameters.
for name, identity in (("a", 1), ("b", 2)):
    found, unique = bus.read_id(name)
    assert (found & 0xFF, len(unique)) == (identity, 8)
assert bus.read("a", ParameterType.MODE) == 0
assert abs(bus.read("a", ParameterType.VBUS) - 48.0) < 1
assert abs(bus.read("b", ParameterType.POSITION_KP) - 40.0) < 1e-3


def status(name):
    """Command nothing and return position, velocity, torque and temperature."""
    bus.write_operation_frame(name, 0.0, 0.0, 0.0)
    return bus.read_operation_frame(name)


# Operation (MIT) mode.
bus.enable("a")
bus.enable("b")


def at_mit(name, goal, kp, kd):
    bus.write_operation_frame(name, goal, kp, kd)
    return abs(bus.read_operation_frame(name)[0] - goal) < 0.02


until(lambda: at_mit("a", 0.6, 60.0, 3.0))
until(lambda: at_mit("b", -0.6, 400.0, 20.0))
assert 20 < status("a")[3] < 60
assert 20 < status("b")[3] < 60


def select(mode):
    bus.disable("a")
    bus.write("a", ParameterType.MODE, mode)
    assert bus.read("a", ParameterType.MODE) == mode
    bus.enable("a")


def angle():
    return bus.read("a", ParameterType.MECHANICAL_POSITION)


# Position modes: CSP with a speed limit, PP with speed and acceleration.
select(5)
bus.write("a", ParameterType.VELOCITY_LIMIT, 5.0)
bus.write("a", ParameterType.POSITION_TARGET, -0.5)
until(lambda: abs(angle() + 0.5) < 0.02)
select(1)
assert abs(angle() + 0.5) < 0.05, "a position mode holds the angle at which it is enabled"
bus.write("a", ParameterType.PP_VELOCITY_MAX, 8.0)
bus.write("a", ParameterType.PP_ACCELERATION_TARGET, 30.0)
bus.write("a", ParameterType.POSITION_TARGET, 1.0)
until(lambda: abs(angle() - 1.0) < 0.02)

# Velocity and current mode.
select(2)
bus.write("a", ParameterType.CURRENT_LIMIT, 20.0)
bus.write("a", ParameterType.VEL_ACCELERATION_TARGET, 40.0)
for velocity in (3.0, -3.0):
    bus.write("a", ParameterType.VELOCITY_TARGET, velocity)
    until(lambda velocity=velocity: abs(bus.read("a", ParameterType.MECHANICAL_VELOCITY) - velocity) < 0.3)
bus.write("a", ParameterType.VELOCITY_TARGET, 0.0)
until(lambda: abs(bus.read("a", ParameterType.MECHANICAL_VELOCITY)) < 0.1)
select(3)
bus.write("a", ParameterType.IQ_TARGET, 1.0)
until(lambda: bus.read("a", ParameterType.MECHANICAL_VELOCITY) > 0.2)
bus.write("a", ParameterType.IQ_TARGET, 0.0)
bus.disable("a")
bus.write("a", ParameterType.MODE, 0)

# The present angle becomes zero.
until(lambda: abs(bus.read("a", ParameterType.MECHANICAL_VELOCITY)) < 0.05)
bus.transmit(6, bus.host_id, 1, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
assert abs(bus.receive_status_frame("a")[0]) < 0.05
until(lambda: abs(angle()) < 0.05)

# Without frames for the timeout, the motor stops.
bus.write("b", ParameterType.CAN_TIMEOUT, 6000)
bus.enable("b")
time.sleep(1.0)
frame = None
bus.transmit(18, bus.host_id, 2, b"\x28\x70" + bytes(6))
kind, area, _, _ = bus.receive()
assert (kind, area & 0xFF, area >> 14) == (2, 2, 0), "reset mode"

# Another CAN id, in the frame that the manual describes (the package's write_id does not run).
bus.transmit(7, 9 << 8 | bus.host_id, 2)
kind, identity, target, unique = bus.receive()
assert (kind, identity & 0xFF, target) == (0, 9, 0xFE)
assert patiently(bus.ping_by_id, 9, 20.0)[0] & 0xFF == 9

# Reports that the motor sends by itself.
bus.transmit(24, bus.host_id, 9, bytes([1, 2, 3, 4, 5, 6, 1, 0]))
kinds = {bus.receive()[0] for _ in range(5)}
assert 24 in kinds, kinds
bus.transmit(24, bus.host_id, 9, bytes([1, 2, 3, 4, 5, 6, 0, 0]))
bus.channel_handler.shutdown()
bus.channel_handler = None
