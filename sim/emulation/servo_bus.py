"""Emulated servos on a serial bus: they answer a vendor's frames on a pseudo-terminal and move a MuJoCo model's joints.

For tests, and to try a driver, LeRobot's or waldo's, without the arm. Written from the vendors' protocol and memory
tables, apart from the drivers: a mistake on one side shows. Faults can be put in: a silent servo, noise, a pulled plug.
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import ClassVar, Protocol, Self

import numpy as np

from waldo.robots.description import Robot
from waldo.typing import Array

STEP_S = 0.002
"""Longest wait for bytes between two steps of the joints [s]."""
TURN = 4096
"""Counts of a turn."""
COUNTS_PER_RAD = TURN / (2 * np.pi)
ALL_ROUND_RAD = 5.0
"""A joint that turns further is calibrated as one that turns all round [rad]."""
BITS_PER_BYTE = 10
"""Start bit, eight of data, stop bit."""
INTERNAL_OHM = 0.05
"""Resistance of supply and cable: the voltage sags under load [Ω]."""


class Joints(Protocol):
    """The joints that the servos turn: an `EmulatedJoints` or an `EmulatedLeader`. Arrays have shape (joints,)."""

    robot: Robot
    lock: threading.RLock
    heat: Array
    falls: bool
    """Whether the joints sink when nothing holds them."""
    stiffness: Array
    damping: Array
    resistance: Array
    torque_constant: Array

    @property
    def position(self) -> Array:
        """Joint positions [rad]."""
        ...

    @property
    def velocity(self) -> Array:
        """Joint speeds [rad/s]."""
        ...

    @property
    def effort(self) -> Array:
        """Torques of the drives [N·m]."""
        ...

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Set the law kp (position - q) + kd (velocity - dq) + torque."""
        ...

    def limit_effort(self, share: Array) -> None:
        """Let the drives give a share of their torque."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Servo:
    """One servo's memory, and its fault bits."""

    def __init__(self, identity: int, size: int) -> None:
        """Take its id and the bytes of its memory."""
        self.id = identity
        self.memory = bytearray(size)
        self.lasting = b""
        """What outlasts the power."""
        self.waiting: tuple[int, bytes] | None = None
        """What a registered write will write where, at the next action."""
        self.fault = 0
        self.overloaded_s = 0.0

    def get(self, address: int, size: int) -> int:
        """Return an unsigned value, the lowest byte first."""
        return int.from_bytes(self.memory[address : address + size], "little")

    def put(self, address: int, size: int, value: int) -> None:
        """Set it."""
        self.memory[address : address + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


class SerialServos:
    """Servos on one bus, in a thread; a context manager. Joint i is the servo with `ids[i]`."""

    memory_size: ClassVar[int]
    lasting_size: ClassVar[int]
    """Bytes of the memory that outlast the power."""

    def __init__(
        self, joints: Joints, ids: Sequence[int] = (), *, baudrate: int = 1_000_000, calibrated: bool = True
    ) -> None:
        """Take the joints, each servo's id (1, 2, 3 ... unless given), the wire's speed, and whether they know it."""
        self.joints = joints
        count = len(joints.robot.joints)
        self.ids = tuple(ids) or tuple(range(1, count + 1))
        self.silent: set[int] = set()
        """Ids that answer nothing: unplugged."""
        self.noise: Callable[[bytes], bytes] = bytes
        """What the wire makes of each answer."""
        self.goals: list[tuple[int, tuple[int, ...]]] = []
        """When goals of all servos came [ns of time.monotonic_ns], and which; kept while `log` is set."""
        self.log = False
        self.requests = 0
        """Frames that were understood."""
        # Nobody mounts a horn where the encoder's count fits: each has an offset of its own.
        self._mounted = np.array([700 + 311 * i % 1400 for i in range(count)], dtype=float)
        self._volts = np.array([joint.motor.voltage_v or 12.0 for joint in joints.robot.joints])
        self._peak = np.array([joint.motor.peak_torque_nm or 1.0 for joint in joints.robot.joints])
        self._byte_s = BITS_PER_BYTE / baudrate
        self.servos = [self.make_servo(i, calibrated) for i in range(count)]
        for servo in self.servos:
            servo.lasting = bytes(servo.memory)
        self._by_id = dict(zip(self.ids, self.servos, strict=True))
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        """The serial port that a driver opens."""
        self._plugged = True
        self._propped = joints.falls
        """An arm that nobody has switched on yet lies where it was laid, and does not fall."""
        self._buffer = bytearray()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="serial servos")
        self.apply()

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to answer and take the port away."""
        self.unplug()

    def unplug(self) -> None:
        """Pull the USB plug: the port is gone."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._plugged:
            self._plugged = False
            os.close(self._master)
            os.close(self._slave)

    def lay_down(self) -> None:
        """Let the arm lie where it is until somebody switches it on, instead of falling."""
        self._propped = True

    def power_cycle(self) -> None:
        """Take the power away and give it back: what was not kept is forgotten, and the joints are free."""
        with self.joints.lock:
            for servo in self.servos:
                servo.memory[: self.lasting_size] = servo.lasting[: self.lasting_size]
                servo.fault = 0
                self.wake(servo)
            self.apply()

    # what a vendor's servos add

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo as it comes from the factory, or calibrated to its joint."""
        raise NotImplementedError

    def wake(self, servo: Servo) -> None:
        """Set the memory that does not outlast the power as it is after switching on."""
        raise NotImplementedError

    def frames(self, buffer: bytearray) -> Iterator[bytes]:
        """Take whole frames with a good checksum out of a buffer."""
        raise NotImplementedError

    def answer(self, frame: bytes) -> Iterator[bytes]:
        """Obey a frame; yield the answers in the order in which the servos send them."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Write what the sensors say into every servo's memory."""
        raise NotImplementedError

    def drives(self) -> tuple[Array, Array, Array]:
        """Return which servos drive (0 or 1), to which counts, and each one's share of its torque; (joints,)."""
        raise NotImplementedError

    def return_delay_s(self) -> float:
        """Return how long the servos wait before they answer [s]."""
        return max(servo.get(self.return_delay, 1) for servo in self.servos) * 2e-6

    return_delay: ClassVar[int]
    """Address of that, in units of 2 µs."""

    def stiffness_share(self) -> Array:
        """Return each servo's position gain over that of the model, (joints,)."""
        return np.ones(len(self.servos))

    def protect(self, seconds: float) -> None:
        """Look after heat and overload for the time that passed [s]."""
        raise NotImplementedError

    # what they share

    def actual_counts(self) -> Array:
        """Return what the encoders see, before any homing offset, (joints,)."""
        return self._mounted + np.asarray(self.joints.position) * COUNTS_PER_RAD

    def joint_of_actual(self, counts: Array) -> Array:
        """Return the joint angles of encoder counts [rad]."""
        return (counts - self._mounted) / COUNTS_PER_RAD

    def calibration(self, joint: int) -> tuple[int, int, int]:
        """Return the middle of a joint's range in encoder counts, and its range around 2047, as LeRobot lays it."""
        one = self.joints.robot.joints[joint]
        span = (one.upper - one.lower) * COUNTS_PER_RAD
        if one.upper - one.lower > ALL_ROUND_RAD:
            return round(float(self._mounted[joint])), 0, TURN - 1
        middle = self._mounted[joint] + (one.lower + one.upper) / 2 * COUNTS_PER_RAD
        return round(float(middle)), 2047 - int(span / 2), 2047 + int(span / 2)

    def electrical(self) -> tuple[Array, Array, float]:
        """Return currents [A] and duty cycles -1..1 (joints,), and the supply voltage [V]."""
        current = self.joints.effort / self.joints.torque_constant
        back = self.joints.torque_constant * self.joints.velocity
        duty = np.clip((current * self.joints.resistance + back) / self._volts, -1, 1)
        volts = float(self._volts[0] - INTERNAL_OHM * np.abs(current * duty).sum())
        return current, duty, volts

    def apply(self) -> None:
        """Let the joints follow what the memories say."""
        on, goals, share = self.drives()
        gain = self.stiffness_share() * on
        target = self.joint_of_actual(goals)
        zero = np.zeros(len(target))
        self.joints.command(target, zero, self.joints.stiffness * gain, self.joints.damping * np.sqrt(gain), zero)
        self.joints.limit_effort(share)

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
            last = now
            if not ready:
                continue
            data = os.read(self._master, 4096)
            # The wire carries question and answer one after the other.
            free_at = max(free_at, now) + len(data) * self._byte_s
            self._buffer += data
            for frame in self.frames(self._buffer):
                self.requests += 1
                with self.joints.lock:
                    self.refresh()
                    parts = list(self.answer(frame))
                    self.apply()
                told = b"".join(map(self.noise, parts))
                free_at += len(told) * self._byte_s + len(parts) * self.return_delay_s()
                if told:
                    time.sleep(max(0.0, free_at - time.monotonic()))
                    os.write(self._master, told)

    def keep_goals(self, counts: Sequence[int]) -> None:
        """Write down that goals came."""
        if self.log:
            self.goals.append((time.monotonic_ns(), tuple(counts)))
