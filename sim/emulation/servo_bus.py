"""Emulated servos on a serial bus: they answer frames on a pseudo-terminal and move the joints of a MuJoCo model.

For tests, and for trying a driver, waldo's or LeRobot's, without the arm. The emulation is written from the
manufacturers' protocols and memory tables, independently of the drivers, so that an error on one side is detected.
Faults can be injected: a servo that does not respond, noise, a disconnected cable, a wrong supply voltage.

`SerialServos` is the bus. Two classes per manufacturer complete it: one for operating modes and protections, one for
the protocol.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_
from types import TracebackType
from typing import ClassVar, Self

import numpy as np

from waldo.sim.emulation.drives import Drives, Law
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.motion_profile import MotionProfiles
from waldo.sim.emulation.paired_joints import PairedJoints
from waldo.sim.emulation.servos.servo import Servo
from waldo.typing import Array

STEP_S = 0.002
"""Longest wait for bytes between two steps of the joints [s]."""
TURN = 4096
"""Encoder counts per turn."""
COUNTS_PER_RAD = TURN / (2 * np.pi)
FULL_TURN_RAD = 5.0
"""Range from which on a joint is calibrated as a full turn [rad]."""
BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""
INTERNAL_OHM = 0.05
"""Resistance of supply and cable: the voltage drops under load [Ω]."""

TCGETS2, OUTPUT_SPEED = 0x802C542A, 40
"""Linux's request for the settings of a port with any baud rate, and the offset of the rate in the answer."""


def host_baud_rate(port: int) -> int | None:
    """Return the baud rate that a program has set at a port [bit/s]; None if it is unknown."""
    try:
        settings = fcntl.ioctl(port, TCGETS2, bytes(44))
    except OSError:
        return None
    return struct.unpack_from("I", settings, OUTPUT_SPEED)[0]


class SerialServos(Drives):
    """Servos on one bus, in their own thread; a context manager. Joint i is the servo with `ids[i]`."""

    lead: ClassVar[float] = 100
    persistent_size: ClassVar[int]
    """Size of its persistent part, from address 0 [bytes]."""
    return_delay: ClassVar[int]
    """Address of the response delay, in units of 2 µs."""
    id_register: ClassVar[int]
    """Address of the id; the code of the baud rate is behind it."""
    baud_rates: ClassVar[Mapping[int, int]]
    """Code of a baud rate -> baud rate [bit/s]."""

    def __init__(
        self,
        joints: Joints,
        ids: Sequence[int] = (),
        *,
        baudrate: int = 1_000_000,
        calibrated: bool = True,
        one_by_one: bool = False,
    ) -> None:
        """Open a pseudo-terminal with servos.

        Args:
            joints: Joints that the servos drive.
            ids: Id of each servo; 1, 2, 3 ... by default.
            baudrate: Speed of the bus [bit/s].
            calibrated: Whether the servos are calibrated to their joints, or in their factory state.
            one_by_one: Whether new servos, all with the id 1, are connected one after another, the last joint's first:
                each once the id and the baud rate of the one before have been written.
        """
        self.joints = joints
        count = len(joints.robot.joints)
        self.ids = tuple(ids) or ((1,) * count if one_by_one else tuple(range(1, count + 1)))
        self._alone: int | None = count - 1 if one_by_one else None
        self._written: set[int] = set()
        self.silent: set[int] = set()
        """Ids of servos that do not respond, as if unplugged."""
        self.noise: Callable[[bytes], bytes] = bytes
        """Transformation of each response, to inject transmission errors."""
        self.goals: list[tuple[int, tuple[int, ...]]] = []
        """Time [ns, time.monotonic_ns] and goals of each synchronous write, if `log` is set."""
        self.log = False
        """Whether to append to `goals`."""
        self.requests = 0
        """Number of valid frames received."""
        # The horns are mounted at arbitrary angles: each encoder has its own offset.
        self._mounted = np.array([700 + 311 * i % 1400 for i in range(count)], dtype=float)
        self.directions = joints.directions.copy() if isinstance(joints, PairedJoints) else np.ones(count)
        """Direction in which each servo is mounted, 1 or -1, (joints,); writable."""
        self.supply_v = np.array([joint.motor.voltage_v or 12.0 for joint in joints.robot.joints])
        """Supply voltage of each servo, (joints,) [V]; writable."""
        self.paths = MotionProfiles(self.actual_counts())
        """Setpoints of the servos [counts]."""
        self._peak = np.array([joint.motor.peak_torque_nm or 1.0 for joint in joints.robot.joints])
        self._byte_s = BITS_PER_BYTE / baudrate
        self.servos = [self.make_servo(i, calibrated) for i in range(count)]
        for i, servo in enumerate(self.servos):
            servo.persistent = bytes(servo.memory)
            self.start(i)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        """Serial port for the driver."""
        self._plugged = True
        self._propped = joints.falls
        """An arm whose torque was never enabled keeps its initial pose and does not fall."""
        self._buffer = bytearray()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="serial servos")
        self.apply()

    def __enter__(self) -> Self:
        """Start to respond."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and remove the port."""
        self.unplug()

    def unplug(self) -> None:
        """Stop and remove the port, as if the USB cable was disconnected."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._plugged:
            self._plugged = False
            os.close(self._master)
            os.close(self._slave)

    @property
    def is_centered(self) -> bool:
        """Whether homing offsets have been set."""
        return any(self.homing_offset(servo) for servo in self.servos)

    def lay_down(self) -> None:
        """Keep the present pose until the torque is enabled, instead of falling."""
        self._propped = True

    def power_cycle(self) -> None:
        """Switch the power off and on: volatile memory is reset and torque is disabled."""
        with self.joints.lock:
            for joint in range(len(self.servos)):
                self.restart(joint)
            self.apply()

    def restart(self, joint: int) -> None:
        """Set a servo's memory to its state after power-on."""
        servo = self.servos[joint]
        servo.memory[: self.persistent_size] = servo.persistent[: self.persistent_size]
        servo.fault = 0
        servo.waiting = servo.timed = None
        self.start(joint)

    # Provided by the subclass of a manufacturer.

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo in its factory state, or calibrated to its joint."""
        raise NotImplementedError

    def start(self, joint: int) -> None:
        """Set the volatile memory of a servo to its state after power-on."""
        raise NotImplementedError

    def homing_offset(self, servo: Servo) -> int:
        """Return a servo's homing offset [counts]."""
        raise NotImplementedError

    def frames(self, buffer: bytearray) -> Iterator[bytes]:
        """Remove complete frames with a valid checksum from a buffer and yield them."""
        raise NotImplementedError

    def answer(self, frame: bytes) -> Iterator[bytes]:
        """Execute a frame; yield the responses in the order in which the servos send them."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Write the sensor readings to the memory of every servo."""
        raise NotImplementedError

    def is_on(self, joint: int) -> bool:
        """Return whether the power stage of a servo is on."""
        raise NotImplementedError

    # Common to all manufacturers.

    @property
    def connected(self) -> Sequence[Servo]:
        """The servos on the line: all, or the one that is connected alone."""
        return self.servos if self._alone is None else [self.servos[self._alone]]

    def listening(self) -> list[Servo]:
        """Return the servos on the line that have the baud rate of the host; others receive noise."""
        rate = host_baud_rate(self._slave)
        return [s for s in self.connected if rate in (None, self.baud_rates.get(s.memory[self.id_register + 1]))]

    def at(self, identity: int) -> list[Servo]:
        """Return the servos on the line that have the baud rate of the host and an id."""
        return [servo for servo in self.listening() if servo.id == identity]

    def overlaid(self, responses: Sequence[bytes]) -> bytes:
        """Return what the host receives if servos with the same id respond at once: each pulls the line low."""
        length = max(map(len, responses), default=0)
        padded = [response.ljust(length, b"\xff") for response in responses if response]
        return bytes(reduce(and_, column) for column in zip(*padded, strict=True))

    def note_written(self, servo: Servo, address: int, size: int) -> None:
        """Connect the next servo once the id and the baud rate of this one have been written."""
        written = {self.id_register, self.id_register + 1} & set(range(address, address + size))
        if self._alone is None or servo is not self.servos[self._alone] or not written:
            return
        self._written |= written
        if len(self._written) == 2:
            self._written.clear()
            self._alone = self._alone - 1 if self._alone else None

    def return_delay_s(self) -> float:
        """Return the delay of a response [s]."""
        return max(servo.memory[self.return_delay] for servo in self.servos) * 2e-6

    def measured(self) -> Array:
        """Return the encoder counts before any homing offset, (joints,)."""
        return self.actual_counts()

    def actual_counts(self) -> Array:
        """Return the encoder counts before any homing offset, (joints,)."""
        return self._mounted + self.directions * np.asarray(self.joints.position) * COUNTS_PER_RAD

    def speeds(self) -> Array:
        """Return the measured speeds, (joints,) [counts/s]."""
        return self.directions * np.asarray(self.joints.velocity) * COUNTS_PER_RAD

    def joint_of_actual(self, counts: Array) -> Array:
        """Return the joint positions of encoder counts, (joints,) [rad]."""
        return self.directions * (counts - self._mounted) / COUNTS_PER_RAD

    def calibration(self, joint: int) -> tuple[int, int, int]:
        """Return the middle of a joint's range, and its limits around 2047 as LeRobot calibrates them [counts]."""
        one = self.joints.robot.joints[joint]
        span = (one.upper - one.lower) * COUNTS_PER_RAD
        if one.upper - one.lower > FULL_TURN_RAD:
            return round(float(self._mounted[joint])), 0, TURN - 1
        middle = self._mounted[joint] + self.directions[joint] * (one.lower + one.upper) / 2 * COUNTS_PER_RAD
        return round(float(middle)), 2047 - int(span / 2), 2047 + int(span / 2)

    def electrical(self) -> tuple[Array, Array, Array]:
        """Return currents [A], duty cycles from -1 to 1, and supply voltages [V], each (joints,)."""
        current = self.directions * self.joints.effort / self.joints.torque_constant
        back = self.directions * self.joints.torque_constant * self.joints.velocity
        duty = np.clip((current * self.joints.resistance + back) / self.supply_v, -1, 1)
        return current, duty, self.supply_v - INTERNAL_OHM * np.abs(current * duty).sum()

    def hold(self, joint: int, limit: float, gain: float = 1.0) -> Law:
        """Return the law of a servo that follows its setpoint, with a fraction `gain` of the model's stiffness."""
        position = float(self.joint_of_actual(self.paths.position)[joint])
        velocity = float(self.directions[joint] * self.paths.velocity[joint]) / COUNTS_PER_RAD
        stiffness, damping = float(self.joints.stiffness[joint]), float(self.joints.damping[joint])
        return Law(position, velocity, stiffness * gain, damping * gain**0.5, 0.0, limit)

    def drive(self, joint: int, duty: float, limit: float) -> Law:
        """Return the law of a servo at a duty cycle, -1 to 1: a voltage over the winding and its back-EMF."""
        constant, resistance = float(self.joints.torque_constant[joint]), float(self.joints.resistance[joint])
        torque = constant * duty * float(self.directions[joint] * self.supply_v[joint]) / resistance
        return Law(kd=constant**2 / resistance, torque=torque, limit=limit)

    def _work(self) -> None:
        last = time.monotonic()
        free_at = last
        while not self._ended.is_set():
            ready, _, _ = select.select([self._master], [], [], STEP_S)
            now = time.monotonic()
            with self.joints.lock:
                self._propped = self._propped and not any(map(self.is_on, range(len(self.servos))))
                if not self._propped:
                    self.joints.advance(now - last)
                self.advance(now - last)
            last = now
            if not ready:
                # A program that was killed leaves a pseudo-terminal exclusive, unlike a port of a real adapter.
                fcntl.ioctl(self._slave, termios.TIOCNXCL)
                continue
            data = os.read(self._master, 4096)
            # Requests and responses share one half-duplex line.
            free_at = max(free_at, now) + len(data) * self._byte_s
            self._buffer += data
            for frame in self.frames(self._buffer):
                self.requests += 1
                with self.joints.lock:
                    self.refresh()
                    parts = self._answered(frame)
                    self.apply()
                response = b"".join(map(self.noise, parts))
                free_at += len(response) * self._byte_s + len(parts) * self.return_delay_s()
                if response:
                    time.sleep(max(0.0, free_at - time.monotonic()))
                    os.write(self._master, response)

    def _answered(self, frame: bytes) -> list[bytes]:
        """Return the responses to a frame; a servo ignores one with too few parameters."""
        with contextlib.suppress(IndexError):
            return list(self.answer(frame))
        return []

    def log_goals(self, counts: Sequence[int]) -> None:
        """Append goals [counts] to `goals` if `log` is set."""
        if self.log:
            self.goals.append((time.monotonic_ns(), tuple(counts)))
