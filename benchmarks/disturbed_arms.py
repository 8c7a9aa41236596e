"""Emulated arms on a bus with late, corrupted and foreign answers, which note what their motors receive."""

from __future__ import annotations

import bisect
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from queue import PriorityQueue
from typing import Any

import can
import numpy as np

from waldo.robots.description import load_robot
from waldo.robots.drivers.damiao import DamiaoDriver
from waldo.robots.drivers.dynamixel import DynamixelDriver
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.robots.drivers.robstride.driver import RobStrideDriver
from waldo.sim.emulation.arms import ARMS, make_arm
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_robot import load_emulated
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.robstride import RobStrideMotors
from waldo.sim.mjcf.robot_model import load_robot_model
from waldo.typing import Array

LATE, LATE_S = 0.05, (0.005, 0.3)
CORRUPTED = 0.02
FOREIGN = 0.1
"""Share of the answers on a serial line that follow one to another program."""


@dataclass
class Faults:
    """Decides which answers are disturbed; off until `on`."""

    rng: random.Random = field(default_factory=lambda: random.Random(1))
    on: bool = False
    answers: int = 0

    def delay_s(self) -> float:
        """Return the delay of an answer [s]."""
        self.answers += 1
        return self.rng.uniform(*LATE_S) if self.on and self.rng.random() < LATE else 0.0

    def corrupts(self) -> bool:
        """Return whether an answer is corrupted."""
        return self.on and self.rng.random() < CORRUPTED

    def flipped(self, data: bytes) -> bytes:
        """Return data with one wrong bit."""
        if not data:
            return data
        changed = bytearray(data)
        changed[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        return bytes(changed)


class WatchedJoints(EmulatedJoints):
    """Joints that note their own positions, the setpoints that their motors follow, and missing torque."""

    def __init__(self, robot: Any, model: Any) -> None:
        """Initialize without watching."""
        self.past: deque[tuple[float, Array]] = deque(maxlen=2000)
        self.watching = False
        self.pose: Array | None = None
        self.commanded: deque[tuple[float, Array]] = deque(maxlen=100)
        self.jump, self.off, self.goals = 0.0, 0, 0
        super().__init__(robot, model=model)

    def command(self, position: Array, velocity: Array, kp: Array, kd: Array, torque: Array) -> None:
        """Note setpoints outside the allowed range."""
        if self.watching:
            self.off += bool((kp <= 0).any())
            if self.pose is not None:
                self.jump = max(self.jump, float(np.abs(np.where(kp > 0, position - self.pose, 0.0)).max()))
        super().command(position, velocity, kp, kd, torque)

    def watch(self, pose: Array | None) -> None:
        """Note setpoints from now on; those away from a pose, if there is one."""
        with self.lock:
            self.watching, self.pose = True, pose
            self.jump, self.off, self.goals = 0.0, 0, 0

    def receive(self, joint: int, goal: float) -> None:
        """Note a goal that a motor receives [rad]."""
        if self.watching and self.pose is None:
            self.goals += 1
            recent = [row[joint] for at, row in list(self.commanded) if time.time() - at < 1.0]
            self.jump = max(self.jump, min(abs(goal - one) for one in recent or [self.commanded[-1][1][joint]]))

    def advance(self, seconds: float) -> None:
        """Note the positions after a step."""
        super().advance(seconds)
        self.past.append((time.time(), self.position.copy()))

    def error(self, reported: Array, since: float, until: float) -> float:
        """Return how far a reported position is from the joints' positions in an interval (time.time) [rad].

        A busy machine steps the joints rarely: the steps before and behind the interval belong to it.
        """
        with self.lock:
            rows = [*self.past, (time.time(), self.position.copy())]
        times = [at for at, _ in rows]
        first, last = bisect.bisect_left(times, since), bisect.bisect_right(times, until)
        inside = np.array([position for _, position in rows[max(0, first - 1) : last + 1]])
        return float(np.maximum(inside.min(axis=0) - reported, reported - inside.max(axis=0)).max())


@dataclass
class Arm:
    """An emulated arm, whose answers `faults` disturbs."""

    joints: WatchedJoints
    faults: Faults
    driver: Callable[..., Any]


@contextmanager
def serial_arm(vendor: str) -> Iterator[Arm]:
    """Start an SO-101 with servos on a serial line that a second program shares."""
    emulator: Any = FeetechServos if vendor == "feetech" else DynamixelServos
    driver: Any = FeetechDriver if vendor == "feetech" else DynamixelDriver
    robot = load_robot("so101")
    model = load_robot_model(robot.mjcf_path).model
    model.opt.gravity[:] = 0
    faults, joints = Faults(), WatchedJoints(robot, model)
    foreign = foreign_answers(vendor)

    class Late(emulator):
        def answer(self, frame: bytes) -> Iterator[bytes]:
            parts = list(super().answer(frame))
            if parts:
                time.sleep(faults.delay_s())
            yield from parts

        def log_goals(self, counts: Sequence[int]) -> None:
            goals = self.joint_of_actual(np.array([self.aim(joint).goal for joint in range(len(counts))]))
            for joint, goal in enumerate(goals):
                joints.receive(joint, float(goal))

    def noise(data: bytes) -> bytes:
        before = faults.rng.choice(foreign) if faults.on and faults.rng.random() < FOREIGN else b""
        return before + (faults.flipped(data) if faults.corrupts() else data)

    servos = Late(joints)
    servos.noise = noise
    with servos:
        yield Arm(joints, faults, lambda **options: driver(robot, port=servos.port, **options))


def foreign_answers(vendor: str) -> list[bytes]:
    """Return answers to another program that polls two bytes of each servo."""
    from dynamixel_sdk import Protocol2PacketHandler

    frames = []
    for servo in range(1, 7):
        if vendor == "feetech":
            body = bytes([servo, 4, 0, 0x21, 0x03])
            frames.append(b"\xff\xff" + body + bytes([255 - sum(body) % 256]))
        else:
            body = bytes([0xFF, 0xFF, 0xFD, 0, servo, 6, 0, 0x55, 0, 0x21, 0x03])
            frames.append(body + Protocol2PacketHandler().updateCRC(0, body, len(body)).to_bytes(2, "little"))
    return frames


@contextmanager
def can_arm(vendor: str, flip: bool) -> Iterator[Arm]:
    """Start an arm with motors on a CAN bus, whose registers a second program polls."""
    if vendor == "damiao":
        robot = load_robot("openarm_left")
        model = load_robot_model(robot.mjcf_path).model
    else:
        robot, model = make_arm("robstride_arm", ARMS["robstride_arm"])
    emulator: Any = DamiaoMotors if vendor == "damiao" else RobStrideMotors
    ranges = load_emulated(robot.name).ranges()
    driver: Any = DamiaoDriver if vendor == "damiao" else RobStrideDriver
    model.opt.gravity[:] = 0
    faults, joints = Faults(), WatchedJoints(robot, model)
    numbers, under_way = count(), PriorityQueue[tuple[float, int, Any]]()
    channel = f"faults-{vendor}"
    bus = {"interface": "virtual", "channel": channel}

    class Disturbed(emulator):
        def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
            delay_s = faults.delay_s()
            if faults.corrupts():
                if not flip:
                    return
                data = faults.flipped(data)
            if delay_s:
                under_way.put((time.monotonic() + delay_s, next(numbers), (frame_id, data, extended)))
            else:
                super().send(frame_id, data, extended=extended)

        def command(self, motor: int, law: Any) -> None:
            super().command(motor, law)
            joints.receive(motor, law.position + float(self.zeros[motor]))

        def relay(self) -> None:
            while (entry := under_way.get())[2] is not None:
                if entry[0] > time.monotonic():
                    time.sleep(0.001)
                    under_way.put(entry)
                else:
                    frame_id, data, extended = entry[2]
                    super().send(frame_id, data, extended=extended)

    ids = list(range(1, len(robot.joints) + 1))
    motors: Any = Disturbed(joints, can.Bus(interface="virtual", channel=channel), ids, ranges)
    ended = threading.Event()
    with motors:
        threads = [
            threading.Thread(target=motors.relay),
            threading.Thread(target=poll, args=(vendor, channel, ids, ended)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield Arm(joints, faults, lambda **options: driver(robot, **bus, **options))
        finally:
            faults.on = False
            ended.set()
            under_way.put((float("-inf"), next(numbers), None))
            for thread in threads:
                thread.join()


def poll(vendor: str, channel: str, ids: Sequence[int], ended: threading.Event) -> None:
    """Read registers of the motors, as a second program, about a hundred times a second."""
    with can.Bus(interface="virtual", channel=channel) as bus:
        for number in count():
            if ended.wait(0.01):
                return
            motor = ids[number % len(ids)]
            if vendor == "damiao":
                # Register 0x15, the largest position.
                frame = can.Message(arbitration_id=0x7FF, data=[motor, 0, 0x33, 0x15, 0, 0, 0, 0], is_extended_id=False)
            else:
                # Type 17 from host 0xFC: parameter 0x7019, the mechanical position.
                frame = can.Message(arbitration_id=0x11 << 24 | 0xFC << 8 | motor, data=[0x19, 0x70, *bytes(6)])
            bus.send(frame)
            while bus.recv(0) is not None:
                pass
