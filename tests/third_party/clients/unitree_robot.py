"""A robot that is made of Unitree's SDK: its motors are where they are commanded to be.

Arguments: DDS domain. Runs until its input ends, then prints the number of commands and of wrong checksums.
"""

import json
import os
import sys
import threading

from unitree_sdk2py.core.channel import ChannelFactoryInitialize, ChannelPublisher, ChannelSubscriber
from unitree_sdk2py.idl.default import unitree_hg_msg_dds__LowState_
from unitree_sdk2py.idl.unitree_hg.msg.dds_ import LowCmd_, LowState_
from unitree_sdk2py.rpc.server import Server
from unitree_sdk2py.utils.crc import CRC
from unitree_sdk2py.utils.thread import RecurrentThread

crc = CRC()
state = unitree_hg_msg_dds__LowState_()
state.mode_machine = 5
counts = {"commands": 0, "wrong": 0}
lock = threading.Lock()  # commands arrive in a thread of the SDK


def on_command(message):
    """Take the positions of a command as those of the motors."""
    counts["commands"] += 1
    counts["wrong"] += crc.Crc(message) != message.crc
    with lock:
        for motor, wanted in zip(state.motor_state, message.motor_cmd, strict=True):
            if wanted.mode == 1:
                motor.q = wanted.q


ChannelFactoryInitialize(int(sys.argv[1]), "lo")
publisher = ChannelPublisher("rt/lowstate", LowState_)
publisher.Init()
subscriber = ChannelSubscriber("rt/lowcmd", LowCmd_)
subscriber.Init(on_command, 10)


class Service(Server):
    """A service with the given functions: number -> function of the parameter."""

    def __init__(self, name, functions):
        super().__init__(name)
        self._SetApiVersion("1.0.0.0")
        for number, function in functions.items():
            self._RegistHandler(number, function, False)
        self.Start()


fsm = {"data": 500}


def change(parameter):
    """Change the state of the locomotion."""
    fsm["data"] = json.loads(parameter)["data"]
    return 0, ""


switcher = Service("motion_switcher", {1001: lambda _: (0, json.dumps({"form": "0", "name": ""}))})
sport = Service("sport", {7001: lambda _: (0, json.dumps(fsm)), 7101: change})


def publish():
    """Publish the next state."""
    with lock:
        state.tick += 1
        state.crc = crc.Crc(state)
        publisher.Write(state)


thread = RecurrentThread(interval=0.01, target=publish, name="state")
thread.Start()
threading.Thread(target=sys.stdin.read).run()
sys.stdout.write(f"commands: {counts['commands']}, wrong checksums: {counts['wrong']}\n")
sys.stdout.flush()
os._exit(0)  # the SDK's threads do not end
