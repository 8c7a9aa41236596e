"""Emulated servos on a serial bus: they answer frames on a pseudo-terminal and move the joints of a MuJoCo model.

For tests, and for trying a driver, waldo's or LeRobot's, without the arm. The emulation is written from the
manufacturers' protocols and memory tables, independently of the drivers, so that an error on one side is detected.
Faults can be injected: a servo that does not respond, noise, a disconnected cable.

`Servo` is the memory of one servo. `SerialServos` is the bus; a subclass per manufacturer adds protocol and registers.
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
from typing import ClassVar, Protocol, Self

import numpy as np

from waldo.robots.description import Robot
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


class Joints(Protocol):
    """The joints that the servos drive: `EmulatedJoints` or `EmulatedLeader`. Arrays have shape (joints,)."""

    robot: Robot
    lock: threading.RLock
    heat: Array
    """Winding and housing temperatures, (joints, 2) [°C]."""
    falls: bool
    """Whether the joints fall when the motors are disabled."""
    stiffness: Array
    """Position gains [N·m/rad]."""
    damping: Array
    """Velocity gains [N·m·s/rad]."""
    resistance: Array
    """Winding resistances [Ω]."""
    torque_constant: Array
    """Torque constants [N·m/A]."""

    @property
    def driver_c(self) -> Array:
        """Temperatures of the sensors on the drives' boards [°C]."""

    @property
    def position(self) -> Array:
        """Joint positions [rad]."""
        ...

    @property
    def velocity(self) -> Array:
        """Joint velocities [rad/s]."""
        ...

    @property
    def effort(self) -> Array:
        """Torques of the drives [N·m]."""
        ...

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Set the torque kp (position - q) + kd (velocity - dq) + torque [N·m]."""
        ...

    def limit_effort(self, ratio: Array) -> None:
        """Limit the torques to a fraction of their maximum, 0 to 1."""
        ...

    def advance(self, seconds: float) -> None:
        """Advance by `seconds` [s]."""
        ...


class Servo:
    """Memory and fault bits of one servo."""

    def __init__(self, size: int, id_register: int) -> None:
        """Create a servo with `size` bytes of memory, whose id is at the address `id_register`."""
        self.memory = bytearray(size)
        self._id_register = id_register
        self.persistent = b""
        """Persistent part of the memory (EEPROM)."""
        self.waiting: tuple[int, bytes] | None = None
        """Address and data of a registered write, executed by the next action instruction."""
        self.fault = 0
        """Fault bits, in the manufacturer's numbering."""
        self.overloaded_s = 0.0
        """Duration of the present overload [s]."""

    @property
    def id(self) -> int:
        """The servo's id on the bus."""
        return self.memory[self._id_register]

    def get(self, address: int, size: int) -> int:
        """Return an unsigned little-endian value."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def put(self, address: int, size: int, value: int) -> None:
        """Set a little-endian value; a negative one is stored as its two's complement."""
        self.memory[address : address + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


class SerialServos:
    """Servos on one bus, in their own thread; a context manager. Joint i is the servo with `ids[i]`."""

    memory_size: ClassVar[int]
    """Size of a servo's memory [bytes]."""
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
        self._volts = np.array([joint.motor.voltage_v or 12.0 for joint in joints.robot.joints])
        self._peak = np.array([joint.motor.peak_torque_nm or 1.0 for joint in joints.robot.joints])
        self._byte_s = BITS_PER_BYTE / baudrate
        self.servos = [self.make_servo(i, calibrated) for i in range(count)]
        for servo in self.servos:
            servo.persistent = bytes(servo.memory)
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
            for servo in self.servos:
                servo.memory[: self.persistent_size] = servo.persistent[: self.persistent_size]
                servo.fault = 0
                self.reset_volatile(servo)
            self.apply()

    # Provided by the subclass of a manufacturer.

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo in its factory state, or calibrated to its joint."""
        raise NotImplementedError

    def reset_volatile(self, servo: Servo) -> None:
        """Set the volatile memory to its state after power-on."""
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

    def drives(self) -> tuple[Array, Array, Array]:
        """Return torque enabled (0 or 1), goal [counts] and torque limit (0 to 1) of each servo, (joints,)."""
        raise NotImplementedError

    def stiffness_ratio(self) -> Array:
        """Return the position gain of each servo divided by that of the model, (joints,)."""
        return np.ones(len(self.servos))

    def moves_gradually(self) -> bool:
        """Return whether a servo moves to its goal at a speed of its own, so that the target changes by itself."""
        return False

    def protect(self, seconds: float) -> None:
        """Apply the protection against heat and overload for the elapsed time [s]."""
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
        return max(servo.get(self.return_delay, 1) for servo in self.servos) * 2e-6

    def actual_counts(self) -> Array:
        """Return the encoder counts before any homing offset, (joints,)."""
        return self._mounted + np.asarray(self.joints.position) * COUNTS_PER_RAD

    def joint_of_actual(self, counts: Array) -> Array:
        """Return the joint positions of encoder counts, (joints,) [rad]."""
        return (counts - self._mounted) / COUNTS_PER_RAD

    def calibration(self, joint: int) -> tuple[int, int, int]:
        """Return the middle of a joint's range, and its limits around 2047 as LeRobot calibrates them [counts]."""
        one = self.joints.robot.joints[joint]
        span = (one.upper - one.lower) * COUNTS_PER_RAD
        if one.upper - one.lower > FULL_TURN_RAD:
            return round(float(self._mounted[joint])), 0, TURN - 1
        middle = self._mounted[joint] + (one.lower + one.upper) / 2 * COUNTS_PER_RAD
        return round(float(middle)), 2047 - int(span / 2), 2047 + int(span / 2)

    def electrical(self) -> tuple[Array, Array, float]:
        """Return currents (joints,) [A], duty cycles (joints,) from -1 to 1, and the supply voltage [V]."""
        current = self.joints.effort / self.joints.torque_constant
        back = self.joints.torque_constant * self.joints.velocity
        duty = np.clip((current * self.joints.resistance + back) / self._volts, -1, 1)
        volts = float(self._volts[0] - INTERNAL_OHM * np.abs(current * duty).sum())
        return current, duty, volts

    def apply(self) -> None:
        """Command the joints according to the memory of the servos."""
        on, goals, limit = self.drives()
        gain = self.stiffness_ratio() * on
        target = self.joint_of_actual(goals)
        zero = np.zeros(len(target))
        self.joints.command(target, zero, self.joints.stiffness * gain, self.joints.damping * np.sqrt(gain), zero)
        self.joints.limit_effort(limit)

    def _work(self) -> None:
        last = time.monotonic()
        free_at = last
        while not self._ended.is_set():
            ready, _, _ = select.select([self._master], [], [], STEP_S)
            now = time.monotonic()
            with self.joints.lock:
                self._propped = self._propped and not self.drives()[0].any()
                if not self._propped:
                    self.joints.advance(now - last)
                    self.protect(now - last)
                    if self.moves_gradually():
                        self.apply()
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
