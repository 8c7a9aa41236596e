"""Emulated hands of a Unitree robot: a Dex3-1 on `rt/dex3/SIDE/...`, or a pair of Inspire hands on `rt/inspire/...`.

Sources: https://github.com/unitreerobotics/xr_teleoperate, teleop/robot_control; unitree_sdk2, example/g1/dex3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.drivers.unitree.hands import DEX3_MOTORS, INSPIRE_MOTORS
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.typing import Array

INSPIRE_STIFFNESS, INSPIRE_DAMPING = 3.0, 0.1
"""Gains of the Inspire hands' own position control [N·m/rad, N·m·s/rad]."""


class EmulatedDex3:
    """One Dex3-1; the robot's thread calls its methods."""

    volts = 24.0
    """Supply voltage [V]."""

    def __init__(self, joints: EmulatedJoints, side: str) -> None:
        """Take the hand's joints among those of the robot."""
        names = joints.robot.joint_names
        self.side = side
        self.joints = [names.index(name) for name, (of, _) in DEX3_MOTORS.items() if of == side]
        """The hand's joints, in the order of its motors."""
        self.law: Array = np.zeros((5, len(self.joints)))
        """Position, velocity, stiffness, damping and torque of each motor."""
        self.taken = self.refused = 0
        """Number of commands executed, and of commands whose motors have a wrong index or number."""
        self.last_command: Any = None
        self._all = joints

    def open(self, participant: Any) -> None:
        """Open the topics."""
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic

        from waldo.robots.drivers.unitree.idl import HandCmd, HandState

        topic = f"rt/dex3/{self.side}"
        self._writer: Any = DataWriter(participant, Topic(participant, f"{topic}/state", HandState))
        self._reader: Any = DataReader(participant, Topic(participant, f"{topic}/cmd", HandCmd))

    def receive(self) -> None:
        """Execute the commands that have arrived."""
        for command in self._reader.take(16):
            if hasattr(command, "motor_cmd"):
                self._execute(command)

    def _execute(self, command: Any) -> None:
        motors = command.motor_cmd
        if len(motors) != len(self.joints) or any(motor.mode & 0xF != i for i, motor in enumerate(motors)):
            self.refused += 1
            return
        self.taken += 1
        self.last_command = command
        on = np.array([float(motor.mode >> 4 & 7 == 1 and not motor.mode >> 7) for motor in motors])
        q, dq, kp, kd, tau = (np.array([getattr(m, name) for m in motors]) for name in ("q", "dq", "kp", "kd", "tau"))
        self.law = np.array([q, dq, kp * on, kd * on, tau * on])

    def publish(self) -> None:
        """Publish the state."""
        from waldo.robots.drivers.unitree.idl import HandState, HgImuState, HgMotorState, PressSensorState

        joints = self._all
        with joints.lock:
            q, dq, tau, heat = joints.position, joints.velocity, joints.effort, joints.heat
        motors = [
            HgMotorState(
                i, q[j], dq[j], 0.0, tau[j], [round(heat[j, 1]), round(heat[j, 0])], self.volts, [0, 0], 0, [0] * 4
            )
            for i, j in enumerate(self.joints)
        ]
        pads = [PressSensorState([0.0] * 12, [25.0] * 12, 0, 0) for _ in range(9)]
        imu = HgImuState([1.0, 0.0, 0.0, 0.0], [0.0] * 3, [0.0, 0.0, 9.81], [0.0] * 3, 30)
        self._writer.write(HandState(motors, pads, imu, self.volts, 0.2, self.volts, self.volts, [0, 0], [0, 0]))

    def close(self) -> None:
        """Close the topics."""
        self._writer = self._reader = None


class EmulatedInspire:
    """A pair of Inspire hands, whose motors report 1 with the finger open and 0 with the finger closed."""

    def __init__(self, joints: EmulatedJoints) -> None:
        """Take the hands' joints among those of the robot.

        Raises:
            InvalidValueError: If the robot does not have both hands.
        """
        names = joints.robot.joint_names
        if missing := [name for name in INSPIRE_MOTORS if name not in names]:
            found = f"{joints.robot.name} without {', '.join(missing)}"
            raise InvalidValueError("robot", found, "a robot with both Inspire hands")
        ordered = sorted(INSPIRE_MOTORS, key=lambda name: INSPIRE_MOTORS[name])
        self.joints = [names.index(name) for name in ordered]
        """The hands' joints, in the order of the motors: the right hand first."""
        self.lower, self.upper = joints.robot.lower[self.joints], joints.robot.upper[self.joints]
        self.law: Array = np.zeros((5, len(self.joints)))
        """Position, velocity, stiffness, damping and torque of each motor."""
        self.taken = self.refused = 0
        """Number of commands executed, and of commands for another number of motors."""
        self.last_command: Any = None
        self._all = joints

    def open(self, participant: Any) -> None:
        """Open the topics."""
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic

        from waldo.robots.drivers.unitree.idl import MotorCmds, MotorStates

        self._writer: Any = DataWriter(participant, Topic(participant, "rt/inspire/state", MotorStates))
        self._reader: Any = DataReader(participant, Topic(participant, "rt/inspire/cmd", MotorCmds))

    def receive(self) -> None:
        """Execute the commands that have arrived."""
        for command in self._reader.take(16):
            if not hasattr(command, "cmds"):
                continue
            if len(command.cmds) != len(self.joints):
                self.refused += 1
                continue
            self.taken += 1
            self.last_command = command
            ratio = np.clip([motor.q for motor in command.cmds], 0.0, 1.0)
            self.law[0] = self.upper - ratio * (self.upper - self.lower)
            self.law[2], self.law[3] = INSPIRE_STIFFNESS, INSPIRE_DAMPING

    def publish(self) -> None:
        """Publish the state."""
        from waldo.robots.drivers.unitree.idl import GoMotorState, MotorStates

        joints, span = self._all, self.upper - self.lower
        with joints.lock:
            q, dq, tau = joints.position[self.joints], joints.velocity[self.joints], joints.effort[self.joints]
            heat = joints.heat[self.joints, 1]
        ratio = (self.upper - q) / span
        states = [
            GoMotorState(1, ratio[i], -dq[i] / span[i], 0.0, tau[i], ratio[i], 0.0, 0.0, round(heat[i]), 0, [0, 0])
            for i in range(len(self.joints))
        ]
        self._writer.write(MotorStates(states))

    def close(self) -> None:
        """Close the topics."""
        self._writer = self._reader = None
