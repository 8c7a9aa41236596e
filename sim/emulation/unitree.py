"""An emulated Unitree robot on DDS: body, hands and the services of its own controller, as Unitree's SDK expects them.

The body publishes `rt/lowstate` and executes `rt/lowcmd`, or `rt/arm_sdk` while its own controller is active. It checks
the checksum and `mode_machine` of each command, drives the joints of a MuJoCo model with the commanded gains and
publishes both temperatures of each motor. Their order can be chosen, because Unitree's sources disagree on it.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python: unitree_sdk2py/idl (messages), utils/crc.py (checksum),
example/g1/low_level (topics, `mode_machine`, motor mode 1 for enabled), example/g1/high_level (arm_sdk and its weight).
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.dds import join_domain
from waldo.robots.drivers.unitree.driver import message_types
from waldo.robots.drivers.unitree.hands import DEX3_MOTORS, INSPIRE_MOTORS
from waldo.robots.drivers.unitree.motors import ARM_SDK_WEIGHT, GO2_MOTORS, MOTOR_INDICES
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.unitree_hands import EmulatedDex3, EmulatedInspire
from waldo.sim.emulation.unitree_services import EmulatedController

MODE_MACHINE = 5
"""Robot type that a G1 with 29 joints reports."""


class EmulatedUnitree:
    """A robot of the unitree_hg family (G1), or of unitree_go (Go2), in its own thread; a context manager."""

    volts: ClassVar[float] = 58.0
    """Supply voltage [V]."""

    def __init__(
        self,
        robot: Robot,
        domain: int = 0,
        interface: str = "lo",
        *,
        rate_hz: float = 250.0,
        winding_first: bool = False,
        controller: str = "",
    ) -> None:
        """Prepare the emulation.

        Args:
            robot: The robot; its joints have the names of Unitree's G1 or Go2, of a Dex3-1 or of Inspire hands.
            domain: DDS domain.
            interface: Network interface.
            rate_hz: Rate of the state messages [Hz].
            winding_first: Whether the winding temperature precedes the housing temperature.
            controller: The robot's own controller that is active at the start, such as "ai"; empty for debug mode.

        Raises:
            InvalidValueError: If the robot has other joints.
        """
        names = robot.joint_names
        if unknown := [name for name in names if name not in {**MOTOR_INDICES, **DEX3_MOTORS, **INSPIRE_MOTORS}]:
            raise InvalidValueError(
                "robot", f"{robot.name} with {', '.join(unknown)}", "joints of a G1, a Go2 or its hands"
            )
        self.joints = EmulatedJoints(robot)
        self.body = [joint for joint, name in enumerate(names) if name in MOTOR_INDICES]
        """Joints of the body."""
        self.indices = [MOTOR_INDICES[names[joint]] for joint in self.body]
        """Motor index of each joint of the body."""
        self.family = "go" if any(name in GO2_MOTORS for name in names) else "hg"
        self.refused = 0
        """Number of commands with a wrong checksum, for another robot type, or beside the robot's own controller."""
        self.taken = 0
        """Number of commands executed."""
        self.motorstate = [0] * 35
        """Fault bits of each motor."""
        self.mute = False
        """Publish nothing, like a robot that is switched off."""
        self.corrupt = False
        """Publish wrong checksums."""
        self.last_command: Any = None
        self.weight = 0.0
        """Weight of the commands on rt/arm_sdk, 0 to 1."""
        self.controller = EmulatedController(controller)
        self.hands: list[EmulatedDex3 | EmulatedInspire] = [
            EmulatedDex3(self.joints, side) for side in ("left", "right") if f"{side}_hand_thumb_0_joint" in names
        ]
        if any(name in INSPIRE_MOTORS for name in names):
            self.hands.append(EmulatedInspire(self.joints))
        self._rate_hz, self._winding_first = rate_hz, winding_first
        self._address = (domain, interface)
        self._tick = 0
        self._own = np.array([robot.home, np.zeros(len(names)), self.joints.stiffness, self.joints.damping])
        """Law of the robot's own controller: position, velocity, stiffness, damping."""
        self._own[:, [j for j in range(len(names)) if j not in self.body]] = 0.0
        self._law = np.zeros((5, len(names)))
        self._arms = np.zeros((5, len(names)))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="emulated unitree")

    def __enter__(self) -> Self:
        """Join the domain and start."""
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic

        participant = self._participant = join_domain(*self._address)
        state_type, command_type = message_types(self.family)
        self._writer: Any = DataWriter(participant, Topic(participant, "rt/lowstate", state_type))
        self._reader: Any = DataReader(participant, Topic(participant, "rt/lowcmd", command_type))
        self._arm_reader: Any = DataReader(participant, Topic(participant, "rt/arm_sdk", command_type))
        self.controller.open(participant)
        for hand in self.hands:
            hand.open(participant)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop and leave the domain."""
        self._ended.set()
        self._thread.join(30)
        for hand in self.hands:
            hand.close()
        self.controller.close()
        self._reader = self._arm_reader = self._writer = self._participant = None

    def _work(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(1 / self._rate_hz):
            self.controller.serve()
            for command in self._reader.take(16):
                if hasattr(command, "motor_cmd"):
                    self.execute(command)
            for command in self._arm_reader.take(16):
                if hasattr(command, "motor_cmd"):
                    self.execute_arms(command)
            for hand in self.hands:
                hand.receive()
            now = time.monotonic()
            self._drive()
            self.joints.advance(now - last)
            last = now
            self._tick += 1
            if not self.mute:
                self._writer.write(self.state())
                for hand in self.hands:
                    hand.publish()

    def _drive(self) -> None:
        """Apply the law of this moment to all joints."""
        law = self._law.copy()
        if self.controller.active:
            own = self._own.copy()
            own[2] *= self.controller.stiffness
            own[3] *= self.controller.damping
            law[1] = 0.0
            weight = self.weight * (self._arms[2] > 0)
            stiffness = (1 - weight) * own[2] + weight * self._arms[2]
            goal = (1 - weight) * own[2] * own[0] + weight * self._arms[2] * self._arms[0]
            law[0] = np.divide(goal, stiffness, out=own[0].copy(), where=stiffness > 0)
            law[2], law[3] = stiffness, (1 - weight) * own[3] + weight * self._arms[3]
            law[4] = weight * self._arms[4]
        for hand in self.hands:
            law[:, hand.joints] = hand.law
        self.joints.command(*law)

    def execute(self, command: Any) -> None:
        """Execute a message of rt/lowcmd, or count it as refused."""
        if not self._is_valid(command) or self.controller.active:
            self.refused += 1
            return
        self.taken += 1
        self.last_command = command
        self._law[:, self.body] = self._read_law(command)

    def execute_arms(self, command: Any) -> None:
        """Execute a message of rt/arm_sdk, or count it as refused."""
        if not self._is_valid(command) or not self.controller.active:
            self.refused += 1
            return
        self.taken += 1
        self.last_command = command
        self.weight = float(np.clip(command.motor_cmd[ARM_SDK_WEIGHT].q, 0.0, 1.0))
        self._arms[:, self.body] = self._read_law(command)

    def _is_valid(self, command: Any) -> bool:
        from waldo.robots.drivers.unitree.crc import checksum

        machine = getattr(command, "mode_machine", MODE_MACHINE)
        return command.crc == checksum(command) and machine == MODE_MACHINE

    def _read_law(self, command: Any) -> np.ndarray:
        """Return position, velocity, stiffness, damping and torque of each motor, shape (5, joints of the body)."""
        motors = [command.motor_cmd[i] for i in self.indices]
        on = np.array([float(motor.mode == 1) for motor in motors])
        q, dq, kp, kd, tau = (np.array([getattr(m, name) for m in motors]) for name in ("q", "dq", "kp", "kd", "tau"))
        return np.array([q, dq, kp * on, kd * on, tau * on])

    def state(self) -> Any:
        """Return the present state message."""
        from waldo.robots.drivers.unitree.crc import checksum

        state = self._hg_state() if self.family == "hg" else self._go_state()
        # The checksum covers the values as 32-bit floats.
        state.crc = checksum(state) ^ int(self.corrupt)
        return state

    def _hg_state(self) -> Any:
        from waldo.robots.drivers.unitree.idl import HgImuState, HgLowState, HgMotorState

        joints = self.joints
        with joints.lock:
            q, dq, tau, heat = joints.position, joints.velocity, joints.effort, joints.heat
        motors = [HgMotorState(0, 0.0, 0.0, 0.0, 0.0, [25, 25], 0.0, [0, 0], 0, [0] * 4) for _ in range(35)]
        for joint, i in zip(self.body, self.indices, strict=True):
            winding, housing = round(heat[joint, 0]), round(heat[joint, 1])
            both = [winding, housing] if self._winding_first else [housing, winding]
            motors[i] = HgMotorState(
                1, q[joint], dq[joint], 0.0, tau[joint], both, self.volts, [0, 0], self.motorstate[i], [0] * 4
            )
        imu = HgImuState([1.0, 0.0, 0.0, 0.0], [0.0] * 3, [0.0, 0.0, 9.81], [0.0] * 3, 30)
        return HgLowState([1, 0], 0, MODE_MACHINE, self._tick, imu, motors, [0] * 40, [0] * 4, 0)

    def _go_state(self) -> Any:
        from waldo.robots.drivers.unitree import idl as idl

        joints = self.joints
        with joints.lock:
            q, dq, tau, heat = joints.position, joints.velocity, joints.effort, joints.heat
        motors = [idl.GoMotorState(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 25, 0, [0, 0]) for _ in range(20)]
        for joint, i in zip(self.body, self.indices, strict=True):
            motors[i] = idl.GoMotorState(
                1, q[joint], dq[joint], 0.0, tau[joint], q[joint], dq[joint], 0.0, round(heat[joint, 1]), 0, [0, 0]
            )
        imu = idl.GoImuState([1.0, 0.0, 0.0, 0.0], [0.0] * 3, [0.0, 0.0, 9.81], [0.0] * 3, 30)
        battery = idl.GoBmsState(1, 0, 1, 80, -1500, 3, [30, 30], [30, 30], [3900] * 15)
        return idl.GoLowState(
            [0xFE, 0xEF], 0xFF, 0, [0, 0], [1, 0], 0, imu, motors, battery, [0] * 4, [0] * 4, self._tick, [0] * 40, 0,
            0.0, 30, 30, 29.4, 2.0, [0] * 4, 0, 0,
        )  # fmt: skip
