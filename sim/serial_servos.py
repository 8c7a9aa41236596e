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
from numpy.typing import NDArray

from waldo.robots.description import Robot

Array = NDArray[np.float64]

STEP_S = 0.002
"""Longest wait for bytes between two steps of the joints [s]."""
TURN = 4096
"""Counts of a turn."""
BITS_PER_BYTE = 10
"""Start bit, eight of data, stop bit."""
LONGEST = 512
"""What tells of a longer frame is noise [bytes]."""
INTERNAL_OHM = 0.05
"""Resistance of supply and cable: the voltage sags under load [Ω]."""


class Joints(Protocol):
    """What the servos turn: waldo.sim.plant.Plant, or an arm in somebody's hand (waldo.sim.hand). Arrays (joints,)."""

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
        self._ended.set()
        self._thread.join(30)
        self._close()

    def unplug(self) -> None:
        """Pull the USB plug: the port is gone."""
        self._ended.set()
        self._thread.join(30)
        self._close()

    def _close(self) -> None:
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
        return self._mounted + np.asarray(self.joints.position) * TURN / (2 * np.pi)

    def joint_of_actual(self, counts: Array) -> Array:
        """Return the joint angles of encoder counts [rad]."""
        return (counts - self._mounted) * 2 * np.pi / TURN

    def calibration(self, joint: int) -> tuple[int, int, int]:
        """Return the middle of a joint's range in encoder counts, and its range around 2047, as LeRobot lays it."""
        one = self.joints.robot.joints[joint]
        span = (one.upper - one.lower) * TURN / (2 * np.pi)
        if one.upper - one.lower > 5.0:
            return round(float(self._mounted[joint])), 0, TURN - 1
        middle = self._mounted[joint] + (one.lower + one.upper) / 2 * TURN / (2 * np.pi)
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


class FeetechServos(SerialServos):
    """STS3215 servos: FF FF, id, length, instruction, parameters, inverted sum."""

    memory_size: ClassVar[int] = 87
    return_delay: ClassVar[int] = 7
    lasting_size: ClassVar[int] = 40

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo as it comes from the factory, or calibrated to its joint."""
        servo = Servo(self.ids[joint], self.memory_size)
        for address, size, value in (
            (0, 1, 3), (1, 1, 10), (3, 2, 777), (5, 1, servo.id), (7, 1, 250), (8, 1, 1), (11, 2, 4095),
            (13, 1, 70), (14, 1, 80 if self._volts[joint] < 9 else 140), (15, 1, 40), (16, 2, 1000), (18, 1, 12),
            (19, 1, 44), (20, 1, 47), (21, 1, 32), (22, 1, 32), (24, 1, 16), (28, 2, 500), (34, 1, 20), (35, 1, 200),
            (36, 1, 80), (37, 1, 10), (38, 1, 200), (39, 1, 10),
        ):  # fmt: skip
            servo.put(address, size, value)
        if calibrated:
            middle, low, high = self.calibration(joint)
            offset = middle - 2047
            servo.put(31, 2, abs(offset) | (0x800 if offset < 0 else 0))
            servo.put(9, 2, low)
            servo.put(11, 2, high)
        self.wake(servo)
        return servo

    def wake(self, servo: Servo) -> None:
        """Free, unlimited, locked."""
        servo.memory[40:71] = bytes(31)
        servo.put(48, 2, servo.get(16, 2))
        servo.put(55, 1, 1)

    def _offset(self, servo: Servo) -> int:
        told = servo.get(31, 2)
        return -(told & 0x7FF) if told & 0x800 else told & 0x7FF

    def frames(self, buffer: bytearray) -> Iterator[bytes]:
        """Take whole frames with a good checksum out of a buffer."""
        while (at := buffer.find(b"\xff\xff")) >= 0:
            del buffer[:at]
            if len(buffer) > 2 and buffer[2] == 0xFF:
                del buffer[:1]
                continue
            if len(buffer) < 4 or len(buffer) < buffer[3] + 4:
                return
            frame = bytes(buffer[: buffer[3] + 4])
            if len(frame) >= 6 and (~sum(frame[2:-1]) & 0xFF) == frame[-1]:
                del buffer[: len(frame)]
                yield frame
            else:
                del buffer[:2]

    def answer(self, frame: bytes) -> Iterator[bytes]:
        """Obey ping, read, write, registered write, action, sync read and sync write."""
        target, instruction, data = frame[2], frame[4], frame[5:-1]
        if instruction == 0x82:
            for identity in data[2:]:
                if identity in self._by_id:
                    servo = self._by_id[identity]
                    yield self._status(servo, bytes(servo.memory[data[0] : data[0] + data[1]]))
            return
        if instruction == 0x83:
            address, length = data[0], data[1]
            for k in range(2, len(data), length + 1):
                if data[k] in self._by_id:
                    self._write(self._by_id[data[k]], address, data[k + 1 : k + 1 + length])
            if address == 42:
                self.keep_goals([servo.get(42, 2) for servo in self.servos])
            return
        for servo in self.servos if target == 0xFE else filter(None, [self._by_id.get(target)]):
            told = b""
            if instruction == 2:
                told = bytes(servo.memory[data[0] : data[0] + data[1]])
            elif instruction == 3:
                self._write(servo, data[0], data[1:])
            elif instruction == 4:
                servo.waiting = (data[0], data[1:])
            elif instruction == 5 and servo.waiting is not None:
                self._write(servo, *servo.waiting)
                servo.waiting = None
            if target != 0xFE or instruction == 1:
                yield self._status(servo, told)

    def _status(self, servo: Servo, data: bytes) -> bytes:
        if servo.id in self.silent:
            return b""
        body = bytes([servo.id, len(data) + 2, servo.fault]) + data
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])

    def _write(self, servo: Servo, address: int, data: bytes) -> None:
        if servo.id in self.silent or address + len(data) > self.memory_size or 56 <= address < 71:
            return
        servo.memory[address : address + len(data)] = data
        # Locked, the change is forgotten with the power.
        if address < self.lasting_size and not servo.memory[55]:
            lasting = bytearray(servo.lasting)
            lasting[address : address + len(data)] = data
            servo.lasting = bytes(lasting)
        if address <= 40 < address + len(data) and servo.memory[40]:
            servo.fault &= ~0x20

    def refresh(self) -> None:
        """Write 56..70: position, speed, load, voltage, temperature, status, moving, current."""
        current, duty, volts = self.electrical()
        counts, speeds = self.actual_counts(), self.joints.velocity * TURN / (2 * np.pi)
        for i, servo in enumerate(self.servos):
            position = round(float(counts[i])) - self._offset(servo)
            servo.put(56, 2, position % TURN)
            for address, value, bit in (
                (58, round(float(speeds[i])), 15),
                (60, round(float(duty[i]) * 1000), 10),
                (69, round(float(current[i]) / 0.0065), 15),
            ):
                servo.put(address, 2, abs(value) | (1 << bit if value < 0 else 0))
            servo.put(62, 1, round(volts * 10))
            servo.put(63, 1, round(float(self.joints.heat[i, 1])))
            servo.put(65, 1, servo.fault)
            servo.put(66, 1, int(abs(speeds[i]) > 3))

    def drives(self) -> tuple[Array, Array, Array]:
        """Return which servos drive, to which encoder counts, and each one's share of its torque."""
        on = np.array([float(servo.memory[40] == 1 and not servo.fault & 0x04) for servo in self.servos])
        goals = [
            min(max(servo.get(42, 2) & 0x7FFF, servo.get(9, 2)), servo.get(11, 2)) + self._offset(servo)
            for servo in self.servos
        ]
        share = [
            min(servo.get(48, 2), servo.get(16, 2), servo.get(34, 1) * 10 if servo.fault & 0x20 else 1000) / 1000
            for servo in self.servos
        ]
        return on, np.array(goals, dtype=float), np.array(share)

    def stiffness_share(self) -> Array:
        """Return each servo's P gain over the 16 that the model was made for."""
        return np.array([servo.get(21, 1) / 16 for servo in self.servos])

    def protect(self, seconds: float) -> None:
        """Switch off what is too hot; after a time of overload leave only the protective torque."""
        efforts = np.abs(self.joints.effort) / self._peak
        before = [servo.fault for servo in self.servos]
        for i, servo in enumerate(self.servos):
            hot = self.joints.heat[i, 1] >= servo.get(13, 1)
            servo.fault = servo.fault & ~0x04 | (0x04 if hot else 0)
            over = efforts[i] * 100 > servo.get(36, 1)
            servo.overloaded_s = servo.overloaded_s + seconds if over else 0.0
            if servo.overloaded_s > servo.get(35, 1) * 0.01:
                servo.fault |= 0x20
        if before != [servo.fault for servo in self.servos]:
            self.apply()


class DynamixelServos(SerialServos):
    """Dynamixel X servos in protocol 2.0: FF FF FD 00, id, length, instruction, parameters, CRC-16."""

    memory_size: ClassVar[int] = 147
    return_delay: ClassVar[int] = 9
    lasting_size: ClassVar[int] = 64
    model: ClassVar[int] = 1020
    """XM430-W350."""
    milliamperes: ClassVar[float] = 2.69
    """Unit of the current [mA]."""

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo as it comes from the factory, or calibrated to its joint."""
        servo = Servo(self.ids[joint], self.memory_size)
        for address, size, value in (
            (0, 2, self.model), (6, 1, 48), (7, 1, servo.id), (8, 1, 3), (9, 1, 250), (11, 1, 3), (12, 1, 255),
            (13, 1, 2), (24, 4, 10), (31, 1, 80), (32, 2, 160), (34, 2, 60), (36, 2, 885), (38, 2, 1193),
            (44, 4, 200), (48, 4, 4095), (63, 1, 52),
        ):  # fmt: skip
            servo.put(address, size, value)
        if calibrated:
            middle, low, high = self.calibration(joint)
            # Present = actual + homing offset: the other way round than Feetech's.
            servo.put(20, 4, 2047 - middle)
            servo.put(11, 1, 4)
            servo.put(52, 4, low)
            servo.put(48, 4, high)
        self.wake(servo)
        return servo

    def wake(self, servo: Servo) -> None:
        """Free, unlimited, answering everything."""
        servo.memory[64:147] = bytes(83)
        servo.put(68, 1, 2)
        servo.put(84, 2, 800)
        servo.put(100, 2, servo.get(36, 2))
        servo.put(102, 2, servo.get(38, 2))
        servo.put(104, 4, servo.get(44, 4))

    def _signed(self, servo: Servo, address: int) -> int:
        return int.from_bytes(servo.memory[address : address + 4], "little", signed=True)

    def _offset(self, servo: Servo) -> int:
        """Return the homing offset; within one turn (mode 3) only up to 1,024 are valid, others are ignored."""
        offset = self._signed(servo, 20)
        return 0 if servo.memory[11] == 3 and abs(offset) > 1024 else offset

    def frames(self, buffer: bytearray) -> Iterator[bytes]:
        """Take whole frames with a good checksum out of a buffer, without their stuffing."""
        while (at := buffer.find(b"\xff\xff\xfd\x00")) >= 0:
            del buffer[:at]
            if len(buffer) < 7:
                return
            length = buffer[5] | buffer[6] << 8
            if length > LONGEST:
                del buffer[:4]
                continue
            if len(buffer) < length + 7:
                return
            frame = bytes(buffer[: length + 7])
            if length >= 3 and crc16(frame[:-2]) == frame[-2] | frame[-1] << 8:
                del buffer[: len(frame)]
                yield frame[:7] + frame[7:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")
            else:
                del buffer[:4]

    def answer(self, frame: bytes) -> Iterator[bytes]:
        """Obey ping, read, write, registered write, action, reboot, sync and bulk reads and writes."""
        target, instruction, data = frame[4], frame[7], frame[8:]
        if instruction in (0x82, 0x92):
            yield from self._read_several(instruction, data)
            return
        if instruction in (0x83, 0x93):
            self._write_several(instruction, data)
            return
        for servo in self.servos if target == 0xFE else filter(None, [self._by_id.get(target)]):
            error, told = self._one(servo, instruction, data)
            if target != 0xFE or instruction == 1:
                yield self._status(servo, error, told)

    def _one(self, servo: Servo, instruction: int, data: bytes) -> tuple[int, bytes]:
        """Obey what is for one servo; return its error number and what it tells."""
        address = data[0] | data[1] << 8 if len(data) >= 2 else 0
        if instruction == 1:
            return 0, bytes(servo.memory[0:2]) + bytes(servo.memory[6:7])
        if instruction == 2:
            return 0, bytes(servo.memory[address : address + (data[2] | data[3] << 8)])
        if instruction == 3:
            return self._write(servo, address, data[2:]), b""
        if instruction == 4:
            servo.waiting = (address, data[2:])
            return 0, b""
        if instruction == 5:
            waiting, servo.waiting = servo.waiting, None
            return (0 if waiting is None else self._write(servo, *waiting)), b""
        if instruction == 8:
            servo.memory[: self.lasting_size] = servo.lasting[: self.lasting_size]
            servo.fault = 0
            self.wake(servo)
            return 0, b""
        return 2, b""

    def _read_several(self, instruction: int, data: bytes) -> Iterator[bytes]:
        if instruction == 0x82:
            address, length = data[0] | data[1] << 8, data[2] | data[3] << 8
            wanted = [(identity, address, length) for identity in data[4:]]
        else:
            parts = [data[k : k + 5] for k in range(0, len(data), 5)]
            wanted = [(part[0], part[1] | part[2] << 8, part[3] | part[4] << 8) for part in parts]
        for identity, address, length in wanted:
            if identity in self._by_id:
                servo = self._by_id[identity]
                yield self._status(servo, 0, bytes(servo.memory[address : address + length]))

    def _write_several(self, instruction: int, data: bytes) -> None:
        at, address, length = 0, 0, 0
        if instruction == 0x83:
            address, length, at = data[0] | data[1] << 8, data[2] | data[3] << 8, 4
        while at < len(data):
            identity, at = data[at], at + 1
            if instruction == 0x93:
                address, length = data[at] | data[at + 1] << 8, data[at + 2] | data[at + 3] << 8
                at += 4
            if identity in self._by_id:
                self._write(self._by_id[identity], address, data[at : at + length])
            at += length
        if address == 116:
            self.keep_goals([self._signed(servo, 116) for servo in self.servos])

    def _status(self, servo: Servo, error: int, data: bytes) -> bytes:
        if servo.id in self.silent:
            return b""
        body = bytes([0x55, error | (0x80 if servo.fault else 0)]) + data
        body = body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        frame = b"\xff\xff\xfd\x00" + bytes([servo.id]) + (len(body) + 2).to_bytes(2, "little") + body
        return frame + crc16(frame).to_bytes(2, "little")

    def _write(self, servo: Servo, address: int, data: bytes) -> int:
        """Write to a servo's memory; return its error number, 0 where it was done."""
        if servo.id in self.silent or address + len(data) > self.memory_size:
            return 4
        if address < self.lasting_size and servo.memory[64]:
            return 7
        if 122 <= address:
            return 7
        if address == 116 and servo.memory[11] == 3:
            goal = int.from_bytes(data, "little", signed=True)
            if not self._signed(servo, 52) <= goal <= self._signed(servo, 48):
                return 6
        if address == 64 and data[0] and servo.fault:
            return 1
        servo.memory[address : address + len(data)] = data
        if address < self.lasting_size:
            lasting = bytearray(servo.lasting)
            lasting[address : address + len(data)] = data
            servo.lasting = bytes(lasting)
        return 0

    def refresh(self) -> None:
        """Write 124..146: duty cycle, current, speed, position, voltage, temperature; and the hardware error."""
        current, duty, volts = self.electrical()
        counts, speeds = self.actual_counts(), self.joints.velocity * 60 / (2 * np.pi) / 0.229
        for i, servo in enumerate(self.servos):
            servo.put(124, 2, round(float(duty[i]) * 885))
            servo.put(126, 2, round(float(current[i]) * 1000 / self.milliamperes))
            servo.put(128, 4, round(float(speeds[i])))
            servo.put(132, 4, round(float(counts[i])) + self._offset(servo))
            servo.put(144, 2, round(volts * 10))
            servo.put(146, 1, round(float(self.joints.heat[i, 1])))
            servo.put(122, 1, int(abs(speeds[i]) > 1))
            servo.put(70, 1, servo.fault)

    def drives(self) -> tuple[Array, Array, Array]:
        """Return which servos drive, to which encoder counts, and each one's share of its torque."""
        on = np.array([float(servo.memory[64] == 1) for servo in self.servos])
        goals = [float(self._signed(servo, 116) - self._offset(servo)) for servo in self.servos]
        share = [min(servo.get(100, 2), servo.get(36, 2)) / 885 for servo in self.servos]
        return on, np.array(goals), np.array(share)

    def protect(self, seconds: float) -> None:
        """Shut down what is too hot, or overloaded for long; only a reboot brings it back."""
        efforts = np.abs(self.joints.effort) / self._peak
        for i, servo in enumerate(self.servos):
            servo.overloaded_s = servo.overloaded_s + seconds if efforts[i] > 0.95 else 0.0
            hot = self.joints.heat[i, 1] >= servo.get(31, 1)
            fault = (0x04 if hot else 0) | (0x20 if servo.overloaded_s > 2.0 else 0)
            if fault & ~servo.fault:
                servo.fault |= fault
                servo.memory[64] = 0
                self.apply()


def crc16(data: bytes) -> int:
    """Return ROBOTIS's checksum: CRC-16 with the polynomial 0x8005, most significant bit first, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


SERVOS: dict[str, type[SerialServos]] = {"feetech": FeetechServos, "dynamixel": DynamixelServos}
"""Driver -> the servos that answer it."""
