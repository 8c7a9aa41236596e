"""ROBOTIS's DYNAMIXEL SDK, low level and easy: two servos of different models; argument: the port."""

import sys
import time

from dynamixel_easy_sdk import Connector, DxlRuntimeError, OperatingMode
from dynamixel_sdk import (
    GroupBulkRead,
    GroupBulkWrite,
    GroupSyncRead,
    GroupSyncWrite,
    PacketHandler,
    PortHandler,
    port_handler,
)
from patience import until

port_handler.LATENCY_TIMER = 3000
PORT = sys.argv[1]
XL430, XL330 = 1, 2
RANGE, LENGTH, LIMIT, ACCESS = 4, 5, 6, 7

port = PortHandler(PORT)
assert port.openPort()
assert port.setBaudRate(1_000_000)
packet = PacketHandler(2.0)


def write(servo, address, size, value):
    call = {1: packet.write1ByteTxRx, 2: packet.write2ByteTxRx, 4: packet.write4ByteTxRx}[size]
    return call(port, servo, address, value & (1 << 8 * size) - 1)


def read(servo, address, size, signed=True):
    call = {1: packet.read1ByteTxRx, 2: packet.read2ByteTxRx, 4: packet.read4ByteTxRx}[size]
    value, result, error = call(port, servo, address)
    assert (result, error) == (0, 0), (result, error)
    return value - (1 << 8 * size) if signed and value >> (8 * size - 1) else value


def position(servo):
    return read(servo, 132, 4)


# Ping, broadcast ping, sensors.
assert packet.ping(port, XL430) == (1060, 0, 0)
assert packet.ping(port, XL330) == (1200, 0, 0)
found, result = packet.broadcastPing(port)
assert result == 0
assert {servo: data[0] for servo, data in found.items()} == {1: 1060, 2: 1200}
assert 118 <= read(XL430, 144, 2) <= 120
assert 48 <= read(XL330, 144, 2) <= 50
assert 20 <= read(XL430, 146, 1) <= 40

# Position mode with a trapezoidal profile, and the errors of goals outside of the limits.
assert write(XL430, 64, 1, 1) == (0, 0)
assert write(XL430, 108, 4, 20) == (0, 0)
assert write(XL430, 112, 4, 100) == (0, 0)
start = position(XL430)
goal = start + 600 if start < 3000 else start - 600
assert write(XL430, 116, 4, goal) == (0, 0)
until(lambda: abs(read(XL430, 136, 4)) == 100)  # velocity of the trajectory
until(lambda: abs(position(XL430) - goal) < 5 and read(XL430, 122, 1) == 0)
assert write(XL430, 116, 4, 4096) == (0, LIMIT)
assert write(XL430, 64, 1, 2) == (0, RANGE)
assert write(XL430, 116, 2, 100) == (0, LENGTH)
assert write(XL430, 132, 4, 0) == (0, ACCESS)
assert write(XL430, 11, 1, 1) == (0, ACCESS), "the EEPROM is locked while the torque is on"
assert packet.readTxRx(port, XL430, 700, 4)[1:] == (0, ACCESS), "past the control table"
assert write(XL430, 64, 1, 0) == (0, 0)
assert write(XL430, 11, 1, 0) == (0, RANGE), "an XL430 has no current mode"

# Time-based profile: a motion of given duration.
assert write(XL430, 10, 1, 4) == (0, 0)
assert write(XL430, 64, 1, 1) == (0, 0)
assert write(XL430, 108, 4, 200) == (0, 0)
assert write(XL430, 112, 4, 1000) == (0, 0)
assert write(XL430, 116, 4, start) == (0, 0)
until(lambda: abs(position(XL430) - start) < 5)
assert write(XL430, 64, 1, 0) == (0, 0)
assert write(XL430, 10, 1, 0) == (0, 0)

# Velocity mode, in both directions.
assert write(XL430, 11, 1, 1) == (0, 0)
assert write(XL430, 64, 1, 1) == (0, 0)
for velocity in (100, -100):
    assert write(XL430, 104, 4, velocity) == (0, 0)
    until(lambda velocity=velocity: abs(read(XL430, 128, 4) - velocity) < 5)
assert write(XL430, 104, 4, 300) == (0, LIMIT)

# The bus watchdog stops it without instructions, and its goals are read-only until it is cleared.
assert write(XL430, 98, 1, 5) == (0, 0)
time.sleep(1.0)
assert read(XL430, 98, 1) == -1
until(lambda: abs(read(XL430, 128, 4)) < 3)
assert write(XL430, 104, 4, 50) == (0, RANGE)
assert write(XL430, 98, 1, 0) == (0, 0)
assert write(XL430, 104, 4, 50) == (0, 0)
until(lambda: abs(read(XL430, 128, 4) - 50) < 5)
assert write(XL430, 64, 1, 0) == (0, 0)

# Extended position mode: several turns; clear makes them less than one.
assert write(XL430, 11, 1, 4) == (0, 0)
assert write(XL430, 64, 1, 1) == (0, 0)
far = position(XL430) + 3 * 4096
assert write(XL430, 116, 4, far) == (0, 0)
until(lambda: abs(position(XL430) - far) < 5 and read(XL430, 122, 1) == 0)
assert write(XL430, 64, 1, 0) == (0, 0)
assert packet.clearMultiTurn(port, XL430) == (0, 0)
assert 0 <= position(XL430) < 4096

# Current-based position, current and PWM mode of an XL330.
assert write(XL330, 11, 1, 5) == (0, 0)
assert write(XL330, 64, 1, 1) == (0, 0)
assert write(XL330, 102, 2, 400) == (0, 0)
goal = position(XL330) + 5000
assert write(XL330, 116, 4, goal) == (0, 0)
until(lambda: abs(position(XL330) - goal) < 8)
for mode, address, value in ((0, 102, 200), (16, 100, 300)):
    assert write(XL330, 64, 1, 0) == (0, 0)
    assert write(XL330, 11, 1, mode) == (0, 0)
    assert write(XL330, 64, 1, 1) == (0, 0)
    for sign in (1, -1):
        assert write(XL330, address, 2, sign * value) == (0, 0)
        until(lambda sign=sign: read(XL330, 128, 4) * sign > 10)
assert write(XL330, 64, 1, 0) == (0, 0)
assert write(XL330, 11, 1, 3) == (0, 0)

# Groups: sync and bulk, plain and fast.
sync = GroupSyncRead(port, packet, 132, 4)
bulk = GroupBulkRead(port, packet)
for servo in (XL430, XL330):
    assert sync.addParam(servo)
assert bulk.addParam(XL430, 132, 4)
assert bulk.addParam(XL330, 146, 1)
until(lambda: read(XL430, 122, 1) == 0 and read(XL330, 122, 1) == 0)
expected = [position(XL430), position(XL330), read(XL330, 146, 1)]


def word(value):
    return value - (1 << 32) if value >> 31 else value


def check_groups(sync_call, bulk_call):
    assert sync_call() == 0
    assert bulk_call() == 0
    assert abs(word(sync.getData(XL430, 132, 4)) - expected[0]) < 3
    assert abs(word(sync.getData(XL330, 132, 4)) - expected[1]) < 3
    assert abs(word(bulk.getData(XL430, 132, 4)) - expected[0]) < 3
    assert bulk.getData(XL330, 146, 1) == expected[2]


check_groups(sync.txRxPacket, bulk.txRxPacket)
check_groups(sync.fastSyncRead, bulk.fastBulkRead)
leds = GroupSyncWrite(port, packet, 65, 1)
for servo in (XL430, XL330):
    assert leds.addParam(servo, [1])
assert leds.txPacket() == 0
both = GroupBulkWrite(port, packet)
assert both.addParam(XL430, 65, 1, [0])
assert both.addParam(XL330, 116, 4, list((2048).to_bytes(4, "little")))
assert both.txPacket() == 0
assert (read(XL430, 65, 1), read(XL330, 65, 1), read(XL330, 116, 4)) == (0, 1, 2048)

# Registered writes.
assert packet.regWriteTxRx(port, XL430, 65, 1, [1]) == (0, 0)
assert (read(XL430, 69, 1), read(XL430, 65, 1)) == (1, 0)
assert packet.action(port, 0xFE) == 0
assert read(XL430, 65, 1) == 1

# Indirect addresses: position and temperature in one read, a goal and an LED in one write.
for k, address in enumerate((132, 133, 134, 135, 146)):
    assert write(XL430, 168 + 2 * k, 2, address) == (0, 0)
data, result, error = packet.readTxRx(port, XL430, 224, 5)
assert (result, error) == (0, 0)
assert abs(int.from_bytes(bytes(data[:4]), "little", signed=True) - expected[0]) < 3
assert data[4] == read(XL430, 146, 1)
assert write(XL430, 168, 2, 65) == (0, 0)
assert write(XL430, 224, 1, 0) == (0, 0)
assert read(XL430, 65, 1) == 0

# Reboot; the easy SDK: motors, modes, profiles, errors; id; factory reset.
assert packet.reboot(port, XL430) == (0, 0)
until(lambda: packet.ping(port, XL430) == (1060, 0, 0))
port.closePort()
connector = Connector(PORT, 1_000_000)
motors = connector.createAllMotors()
assert [(motor.id, motor.model_number) for motor in motors] == [(1, 1060), (2, 1200)]
motor = motors[1]
motor.disableTorque()
motor.setOperatingMode(OperatingMode.POSITION)
motor.setHomingOffset(100)
motor.setVelocityLimit(300)
motor.enableTorque()
goal = min(max(motor.getPresentPosition() + 300, 0), 4095)
motor.setGoalPosition(goal)
until(lambda: abs(motor.getPresentPosition() - goal) < 8)
for call in (lambda: motor.setGoalVelocity(1), lambda: connector.write1ByteData(2, 11, 1)):
    try:
        call()
    except DxlRuntimeError:
        continue
    raise AssertionError("no error")
motor.disableTorque()
motor.changeID(9)
assert connector.ping(9) == 1200
motor.factoryResetExceptID()
connector.closePort()
slow = Connector(PORT, 57_600)
until(lambda: slow.ping(9) == 1200)
assert slow.read4ByteData(9, 20) == 0
slow.closePort()
