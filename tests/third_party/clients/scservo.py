"""Feetech's SDKs (scservo_sdk): arguments are the port and whether the SDK is the newer one."""

import sys

import scservo_sdk
from patience import until
from scservo_sdk import port_handler
from scservo_sdk.group_sync_read import GroupSyncRead
from scservo_sdk.group_sync_write import GroupSyncWrite

port_handler.LATENCY_TIMER = 3000
PORT, NEWER = sys.argv[1], sys.argv[2] == "newer"
SERVO, OTHER, ABSENT = 1, 2, 9

port = scservo_sdk.PortHandler(PORT)
assert port.openPort()
assert port.setBaudRate(1_000_000)
if NEWER:
    sdk = scservo_sdk.sms_sts(port)
    arguments = ()
else:
    sdk = scservo_sdk.PacketHandler(0)
    arguments = (port,)


def write1(servo, address, value):
    assert sdk.write1ByteTxRx(*arguments, servo, address, value) == (0, 0)


def write2(servo, address, value):
    assert sdk.write2ByteTxRx(*arguments, servo, address, value) == (0, 0)


def read1(servo, address):
    value, result, error = sdk.read1ByteTxRx(*arguments, servo, address)
    assert (result, error) == (0, 0), (result, error)
    return value


def read2(servo, address):
    value, result, error = sdk.read2ByteTxRx(*arguments, servo, address)
    assert (result, error) == (0, 0), (result, error)
    return value


def signed(value, bit):
    return -(value & ((1 << bit) - 1)) if value >> bit else value


# Ping, voltage, temperature.
assert sdk.ping(*arguments, SERVO) == (777, 0, 0)
assert 110 <= read1(SERVO, 62) <= 120
assert 20 <= read1(SERVO, 63) <= 40

# Move to a goal with a speed and an acceleration, and arrive.
start = read2(SERVO, 56)
goal = start + 500
if NEWER:
    assert sdk.WritePosEx(SERVO, goal, 1000, 50) == (0, 0)
else:
    write1(SERVO, 41, 50)
    write2(SERVO, 46, 1000)
    write2(SERVO, 42, goal)
until(lambda: abs(read2(SERVO, 56) - goal) < 5 and read1(SERVO, 66) == 0)
assert read1(SERVO, 40) == 1

# Registered writes of two servos, started together.
for servo in (SERVO, OTHER):
    result = sdk.regWriteTxRx(*arguments, servo, 42, 2, [start & 0xFF, start >> 8])
    assert result == (0, 0)
assert abs(read2(SERVO, 56) - goal) < 5
sdk.action(*arguments, 0xFE)
until(lambda: abs(read2(SERVO, 56) - start) < 5)

# Sync write and sync read.
handler = sdk if NEWER else (port, sdk)
writing = GroupSyncWrite(sdk, 42, 2) if NEWER else GroupSyncWrite(port, sdk, 42, 2)
for servo in (SERVO, OTHER):
    assert writing.addParam(servo, [goal & 0xFF, goal >> 8])
assert writing.txPacket() == 0
reading = GroupSyncRead(sdk, 56, 4) if NEWER else GroupSyncRead(port, sdk, 56, 4)
for servo in (SERVO, OTHER):
    assert reading.addParam(servo)


def both_arrived():
    if reading.txRxPacket() != 0:
        return False
    return all(abs(reading.getData(servo, 56, 2) - goal) < 5 for servo in (SERVO, OTHER))


until(both_arrived)

# Wheel mode: spins at its goal speed in both directions, beyond a turn, and stops.
if NEWER:
    assert sdk.unLockEprom(SERVO) == (0, 0)
    assert sdk.WheelMode(SERVO) == (0, 0)
    assert sdk.LockEprom(SERVO) == (0, 0)
else:
    write1(SERVO, 55, 0)
    write1(SERVO, 33, 1)
    write1(SERVO, 55, 1)
for speed in (1500, -1500):
    if NEWER:
        assert sdk.WriteSpec(SERVO, speed, 100) == (0, 0)
    else:
        write1(SERVO, 41, 100)
        write2(SERVO, 46, abs(speed) | (0x8000 if speed < 0 else 0))
    until(lambda speed=speed: abs(signed(read2(SERVO, 58), 15) - speed) < 60)
    assert read1(SERVO, 66) == 1
write2(SERVO, 46, 0)
until(lambda: read2(SERVO, 58) == 0 and read1(SERVO, 66) == 0)

# Step mode: the goal is relative, and steps add up.
write1(SERVO, 33, 3)
write2(SERVO, 46, 2000)
before = read2(SERVO, 56)
for _ in range(2):
    write2(SERVO, 42, 200)
until(lambda: (read2(SERVO, 56) - before - 400 + 10) % 4096 < 20)
write1(SERVO, 40, 0)
write1(SERVO, 33, 0)
until(lambda: read1(SERVO, 66) == 0)

# A new id is stored if the memory is unlocked; the old one is free.
write1(OTHER, 40, 0)
write1(OTHER, 55, 0)
sdk.write1ByteTxRx(*arguments, OTHER, 5, 7)
port_handler.LATENCY_TIMER = 100
assert sdk.ping(*arguments, OTHER)[1] != 0
assert sdk.ping(*arguments, ABSENT)[1] != 0
port_handler.LATENCY_TIMER = 3000
assert sdk.ping(*arguments, 7) == (777, 0, 0)
write1(7, 55, 1)

# Make the present position the middle one.
write1(SERVO, 40, 128)
until(lambda: abs(read2(SERVO, 56) - 2048) < 3)
port.closePort()
