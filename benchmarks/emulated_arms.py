"""An emulated SO-101 leader and follower, each in a process of its own, as two real arms do not wait for each other.

Both have STS3215 servos on a pseudo-terminal with the transfer times of a 1 Mbit/s bus. One joint of the leader moves.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from waldo.robots.description import load_robot
from waldo.robots.drivers import calibration
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.feetech import FeetechServos
from waldo.typing import Array

JOINT = 0
"""Index of the joint that moves: shoulder_pan, which gravity does not load."""
SWING_RAD, SWING_HZ = 0.4, 0.5
"""Amplitude and frequency of the swing; its maximum speed is 1.3 rad/s."""
STEP_RAD = 0.06
"""Size of a step: 39 counts."""

type Goals = list[tuple[int, tuple[int, ...]]]
"""Time of each goal [ns, time.monotonic_ns] and the goal of each servo [counts]."""
type Track = list[tuple[int, float]]
"""Time [ns, time.monotonic_ns] and offset of the joint from its home [rad]; of steps, only their starts."""


@dataclass
class Moves:
    """A motion of the leader, a swing or steps, with a record of its positions."""

    home: Array
    rng: random.Random
    kind: str = ""
    """"swing", "step", or empty while the leader stands still."""
    track: Track = field(default_factory=list)
    _next_s: float = 0.0
    _started_s: float = 0.0

    def begin(self, kind: str) -> None:
        """Start another motion."""
        self.track, self._started_s, self._next_s = [], time.monotonic(), 0.0
        self.kind = kind

    def __call__(self, seconds: float) -> Array:
        """Return the leader's position, shape (joints,) [rad]."""
        offset = 0.0
        if self.kind == "swing":
            offset = SWING_RAD * np.sin(2 * np.pi * SWING_HZ * (time.monotonic() - self._started_s))
            self.track.append((time.monotonic_ns(), offset))
        elif self.kind == "step":
            if seconds >= self._next_s:
                last = self.track[-1][1] if self.track else 0.0
                self.track.append((time.monotonic_ns(), 0.0 if last else STEP_RAD))
                self._next_s = seconds + self.rng.uniform(0.25, 0.45)
            offset = self.track[-1][1]
        position = self.home.copy()
        position[JOINT] += offset
        return position


class Arms:
    """Both arms, each in its process."""

    def __init__(self, leader: Connection, follower: Connection) -> None:
        """Initialize; the arms answer over these connections."""
        self._leader, self._follower = leader, follower
        self.leader_port, self.follower_port = str(leader.recv()), str(follower.recv())

    def prepare(self) -> None:
        """Put the follower to its home: the program before may have left it without torque."""
        self._ask(self._leader, "begin", "")
        self._ask(self._follower, "prepare", None)

    def begin(self, kind: str) -> None:
        """Start a motion of the leader, "swing", "step" or none, and forget the goals so far."""
        self._ask(self._follower, "goals", True)
        self._ask(self._leader, "begin", kind)

    def goals(self) -> Goals:
        """Return the goals since the last motion began."""
        return self._ask(self._follower, "goals", False)

    def track(self) -> Track:
        """Return the leader's positions since then."""
        return self._ask(self._leader, "track", None)

    @staticmethod
    def _ask(connection: Connection, name: str, value: object) -> Any:
        connection.send((name, value))
        return connection.recv()


@contextmanager
def emulated_arms() -> Iterator[Arms]:
    """Emulate a leader and a follower until the block ends."""
    spawn = multiprocessing.get_context("spawn")
    ends = [spawn.Pipe() for _ in range(2)]
    workers = [
        spawn.Process(target=work, args=(other,), daemon=True)
        for work, (_, other) in zip((_lead, _follow), ends, strict=True)
    ]
    for worker in workers:
        worker.start()
    try:
        yield Arms(ends[0][0], ends[1][0])
    finally:
        for end, _ in ends:
            end.send(("end", None))
        for worker in workers:
            worker.join(30)


def calibrate(arms: Arms, path: Path) -> None:
    """Save the calibration that both arms have in their servos as a file of LeRobot."""
    robot = load_robot("so101")
    for port in (arms.leader_port, arms.follower_port):
        reader = FeetechDriver(robot, port=port, torque=False)
        reader.open()
        calibration.save(path, robot.joint_names, reader.stored())
        reader.disconnect()


def _lead(connection: Connection) -> None:
    """Emulate the leader until the other process ends it."""
    hand = Moves(load_robot("so101").home.copy(), random.Random(0))
    with FeetechServos(EmulatedLeader(load_robot("so101_leader"), hand)) as servos:
        connection.send(servos.port)
        while (request := connection.recv())[0] != "end":
            if request[0] == "begin":
                hand.begin(request[1])
            connection.send(list(hand.track))


def _follow(connection: Connection) -> None:
    """Emulate the follower until the other process ends it."""
    plant = EmulatedJoints(load_robot("so101"))
    with FeetechServos(plant) as servos:
        connection.send(servos.port)
        servos.log = True
        while (request := connection.recv())[0] != "end":
            if request[0] == "prepare":
                with plant.lock:
                    plant.place(plant.robot.home)
                    servos.lay_down()
            found = list(servos.goals)
            if request[0] == "prepare" or request[1]:
                servos.goals.clear()
            connection.send(found)
