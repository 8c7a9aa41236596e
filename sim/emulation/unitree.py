"""An emulated Unitree robot on DDS: it publishes `rt/lowstate` and executes `rt/lowcmd`.

It checks the checksum and `mode_machine` of each command, drives the joints of a MuJoCo model with the commanded gains
and publishes both temperatures of each motor. Their order can be chosen, because Unitree's sources disagree on it.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python: unitree_sdk2py/idl (messages), utils/crc.py (checksum),
example/g1/low_level (topics, `mode_machine`, motor mode 1 for enabled).
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from waldo.robots.description import Robot
from waldo.robots.drivers.dds import join_domain
from waldo.robots.drivers.unitree.driver import message_types
from waldo.robots.drivers.unitree.motors import MOTOR_INDICES
from waldo.sim.emulation.emulated_joints import EmulatedJoints

MODE_MACHINE = 5
"""Robot type that a G1 with 29 joints reports."""


class EmulatedUnitree:
    """A robot of the unitree_hg family in its own thread; a context manager."""

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
    ) -> None:
        """Prepare the emulation.

        Args:
            robot: The robot.
            domain: DDS domain.
            interface: Network interface.
            rate_hz: Rate of the state messages [Hz].
            winding_first: Whether the winding temperature precedes the housing temperature.
        """
        self.joints = EmulatedJoints(robot)
        self.indices = [MOTOR_INDICES[name] for name in robot.joint_names]
        self.refused = 0
        """Number of commands with a wrong checksum or for another robot type."""
        self.taken = 0
        """Number of commands executed."""
        self.motorstate = [0] * 35
        """Fault bits of each motor."""
        self.mute = False
        """Publish nothing, like a robot that is switched off."""
        self.corrupt = False
        """Publish wrong checksums."""
        self.last_command: Any = None
        self._rate_hz, self._winding_first = rate_hz, winding_first
        self._address = (domain, interface)
        self._tick = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="emulated unitree")

    def __enter__(self) -> Self:
        """Join the domain and start."""
        from cyclonedds.pub import DataWriter
        from cyclonedds.sub import DataReader
        from cyclonedds.topic import Topic

        participant = self._participant = join_domain(*self._address)
        state_type, command_type = message_types("hg")
        self._writer: Any = DataWriter(participant, Topic(participant, "rt/lowstate", state_type))
        self._reader: Any = DataReader(participant, Topic(participant, "rt/lowcmd", command_type))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop and leave the domain."""
        self._ended.set()
        self._thread.join(30)
        self._reader = self._writer = self._participant = None

    def _work(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(1 / self._rate_hz):
            for command in self._reader.take(16):
                if hasattr(command, "motor_cmd"):
                    self.execute(command)
            now = time.monotonic()
            self.joints.advance(now - last)
            last = now
            self._tick += 1
            if not self.mute:
                self._writer.write(self.state())

    def execute(self, command: Any) -> None:
        """Execute a command message, or count it as refused."""
        from waldo.robots.drivers.unitree.crc import checksum

        if command.crc != checksum(command) or command.mode_machine != MODE_MACHINE:
            self.refused += 1
            return
        self.taken += 1
        self.last_command = command
        motors = [command.motor_cmd[i] for i in self.indices]
        on = np.array([float(motor.mode == 1) for motor in motors])
        q, dq, kp, kd, tau = (np.array([getattr(m, name) for m in motors]) for name in ("q", "dq", "kp", "kd", "tau"))
        self.joints.command(q, dq, kp * on, kd * on, tau * on)

    def state(self) -> Any:
        """Return the present state message."""
        from waldo.robots.drivers.unitree.crc import checksum
        from waldo.robots.drivers.unitree.idl import HgImuState, HgLowState, HgMotorState

        joints = self.joints
        with joints.lock:
            q, dq, tau, heat = joints.position, joints.velocity, joints.effort, joints.heat
        motors = [HgMotorState(0, 0.0, 0.0, 0.0, 0.0, [25, 25], 0.0, [0, 0], 0, [0] * 4) for _ in range(35)]
        for joint, i in enumerate(self.indices):
            winding, housing = round(heat[joint, 0]), round(heat[joint, 1])
            both = [winding, housing] if self._winding_first else [housing, winding]
            motors[i] = HgMotorState(
                1, q[joint], dq[joint], 0.0, tau[joint], both, self.volts, [0, 0], self.motorstate[i], [0] * 4
            )
        imu = HgImuState([1.0, 0.0, 0.0, 0.0], [0.0] * 3, [0.0, 0.0, 9.81], [0.0] * 3, 30)
        state = HgLowState([1, 0], 0, MODE_MACHINE, self._tick, imu, motors, [0] * 40, [0] * 4, 0)
        # The checksum covers the values as 32-bit floats.
        state.crc = checksum(state) ^ int(self.corrupt)
        return state
