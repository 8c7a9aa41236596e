"""Unitree's SDK on a G1: states, commands, hands and services, as its examples use them.

Arguments: DDS domain. Prints "ok" at the end; the checksums are those of the SDK's compiled library.
"""

import sys
import time

from unitree_sdk2py.comm.motion_switcher.motion_switcher_client import MotionSwitcherClient
from unitree_sdk2py.core.channel import ChannelFactoryInitialize, ChannelPublisher, ChannelSubscriber
from unitree_sdk2py.g1.loco.g1_loco_client import LocoClient
from unitree_sdk2py.idl.default import unitree_hg_msg_dds__HandCmd_, unitree_hg_msg_dds__LowCmd_
from unitree_sdk2py.idl.unitree_hg.msg.dds_ import HandCmd_, HandState_, LowCmd_, LowState_
from unitree_sdk2py.utils.crc import CRC

ELBOW, KNEE = 18, 3
crc = CRC()
states, wrong = [], []
hands = []


def until(done, seconds=60.0):
    """Wait until `done()`."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"timeout at {done.__code__.co_firstlineno}"
        time.sleep(0.02)


def on_state(message):
    """Check a state's checksum with the SDK's library."""
    states.append(message)
    if crc.Crc(message) != message.crc:
        wrong.append(message.crc)


ChannelFactoryInitialize(int(sys.argv[1]), "lo")
subscriber = ChannelSubscriber("rt/lowstate", LowState_)
subscriber.Init(on_state, 10)
hand_subscriber = ChannelSubscriber("rt/dex3/left/state", HandState_)
hand_subscriber.Init(hands.append, 10)
until(lambda: len(states) > 20 and len(hands) > 5)

# example/g1/high_level/g1_loco_client_example.py, and motion_switcher in g1_low_level_example.py
loco = LocoClient()
loco.SetTimeout(10.0)
loco.Init()
assert loco._Call(7101, '{"data": 4711}')[0] == 7302, "no such state"
loco.Damp()
loco.Start()
switcher = MotionSwitcherClient()
switcher.SetTimeout(10.0)
switcher.Init()
code, mode = switcher.CheckMode()
assert (code, mode["name"]) == (0, "ai"), (code, mode)
while mode["name"]:
    switcher.ReleaseMode()
    code, mode = switcher.CheckMode()

# example/g1/low_level/g1_low_level_example.py
publisher = ChannelPublisher("rt/lowcmd", LowCmd_)
publisher.Init()
command = unitree_hg_msg_dds__LowCmd_()
command.mode_machine = states[-1].mode_machine


def send():
    """Move the left elbow to 0.5 rad and hold the rest."""
    for index in range(29):
        motor = command.motor_cmd[index]
        motor.mode, motor.kp, motor.kd, motor.q = 1, 80.0, 2.0, 0.5 if index == ELBOW else 0.0
    command.crc = crc.Crc(command)
    publisher.Write(command)
    return abs(states[-1].motor_state[ELBOW].q - 0.5) < 0.1


until(send)
assert abs(states[-1].motor_state[KNEE].q) < 0.1

# xr_teleoperate's Dex3-1 controller: mode = id | status << 4
hand_publisher = ChannelPublisher("rt/dex3/left/cmd", HandCmd_)
hand_publisher.Init()
hand = unitree_hg_msg_dds__HandCmd_()


def close():
    """Bend the last joint of the left index finger to -0.6 rad."""
    for index in range(7):
        motor = hand.motor_cmd[index]
        motor.mode, motor.kp, motor.kd, motor.q = index | 1 << 4, 1.5, 0.2, -0.6 if index == 6 else 0.0
    hand_publisher.Write(hand)
    return abs(hands[-1].motor_state[6].q + 0.6) < 0.1


until(close)
assert len(states) > 50
assert not wrong, f"{len(wrong)} of {len(states)} states with a wrong checksum"
sys.stdout.write(f"ok {len(states)}\n")
