"""A leader arm as a device: an arm like the robot's in the operator's hand, read with the torque off.

It has no dead-man of its own: the robot follows from when the leader has come close to it, and no longer when the two
are far apart. Where there is a terminal, keys start, save and stop as they do for every other device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from waldo import console
from waldo.collect.devices.device import Observation, Session
from waldo.collect.devices.terminal_keys import Keys
from waldo.robots.description import Robot
from waldo.robots.driver import Driver, load_driver
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array

REMIND_S = 2.0
"""Pause between two words about the same joint [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageOptions(TypedOptions):
    """When the robot follows its leader."""

    engage_rad: float = 0.3
    """The robot begins to follow when every joint is this close to the leader's [rad]."""
    release_rad: float = 1.0
    """It stops to follow when a joint is farther away than this [rad] (GELLO's bound)."""


class Leader:
    """A Device (waldo.collect.devices.device) over whatever tells the angles of a leader's joints."""

    def __init__(self, robot: Robot, engage: EngageOptions) -> None:
        """Take the robot that follows, and when it does."""
        self.robot, self.engage = robot, engage
        self.engaged = False
        """Whether the robot follows."""
        self.keys = Keys()
        self.tell: Callable[[str], None] = lambda text: console.err().print(text, markup=False)
        """Where the operator reads when the robot follows, and what keeps it from that."""
        self._told, self._since_s = "-", math.inf

    # what a kind of leader adds

    def connect(self) -> None:
        """Reach the leader; raises HardwareError with what to do."""
        raise NotImplementedError

    def angles(self) -> Array:
        """Return its joints' angles now (joints,) [rad]; raises HardwareError when it is gone."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Let go of it."""
        raise NotImplementedError

    # the protocol of every device

    def open(self) -> None:
        """Reach the leader, and listen to the terminal where there is one."""
        self.connect()
        if self.keys.can_listen():
            self.keys.open()

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the leader's angles (joints,) [rad] while the robot follows, else None."""
        for name in self.keys.asked():
            if name in ("stop_motion", "enable", "reset"):
                # Wherever the robot stands then: it follows again from near it only.
                self.engaged = False
            session.ask(name)
        target = np.clip(self.angles(), self.robot.lower, self.robot.upper)
        apart = np.abs(target - observation.position)
        self.engaged = bool(apart.max() <= (self.engage.release_rad if self.engaged else self.engage.engage_rad))
        self._say(apart, dt_s)
        return target if self.engaged else None

    def _say(self, apart: Array, dt_s: float) -> None:
        """Tell the operator when the robot begins to follow, and now and then which joint keeps it from that."""
        worst = int(np.argmax(apart))
        name = self.robot.joint_names[worst]
        kind = "" if self.engaged else name
        self._since_s += dt_s
        if kind == self._told and (self.engaged or self._since_s < REMIND_S):
            return
        self._told, self._since_s = kind, 0.0
        self.tell("following" if self.engaged else f"{name} is {apart[worst]:.2f} rad from the robot's: lead it nearer")

    @property
    def finished(self) -> bool:
        """Whether the operator has pressed escape."""
        return self.keys.finished

    def close(self) -> None:
        """Let go of the leader and the terminal."""
        self.keys.close()
        self.disconnect()


class LeaderArm(Leader):
    """A leader that one of waldo's own drivers reads."""

    def __init__(self, robot: Robot, arm: Robot, driver: str = "feetech", **options: object) -> None:
        """Take the robot that follows, the leader's description, its driver, EngageOptions and the driver's options."""
        own = {name: options.pop(name) for name in ("engage_rad", "release_rad") if name in options}
        super().__init__(robot, build_options(EngageOptions, own))
        self._driver: Driver = load_driver(driver)(arm, **{**options, "torque": False})

    def connect(self) -> None:
        """Reach the leader; raises HardwareError with what to do."""
        self._driver.connect()

    def angles(self) -> Array:
        """Return its joints' angles now (joints,) [rad]."""
        return self._driver.read().position

    def disconnect(self) -> None:
        """Let go of it."""
        self._driver.disconnect()
