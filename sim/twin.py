"""The simulated twin of a robot: the robot node's driver for one world of a task, in simulated time.

Same seed, same commands, same bits: time is counted in control ticks, stamps come from the tick's number, and pictures
are taken at every second tick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from waldo.console import err
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.sim.camera import NoGraphicsError
from waldo.sim.tasks.goal import Goal
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

FRAME_TICKS = 2
"""Control ticks between two pictures (30 a second)."""


def stamp_of(tick: int) -> int:
    """Return the time of control tick `tick` [ns of simulated time]; it never drifts."""
    return round(tick * 1_000_000_000 / CONTROL_HZ)


class TwinDriver:
    """A SimulatedDriver (waldo.robots.driver) over one world."""

    def __init__(self, robot: Robot, task: str = "lift", cameras: bool = True, seed: int = 0) -> None:
        """Take the robot, the task's name, whether pictures are drawn, and the seed that the world is laid out from."""
        self.robot = robot
        self._world = World(task, worlds=1, threads=1, robot=robot)
        self._world.reset([seed])
        self._cameras = cameras
        self._tick = 0
        self._targets = self._world.position[0].copy()
        self._frames: list[Frame] = []
        voltages = [joint.motor.voltage_v for joint in robot.joints]
        self._voltage = np.array([np.nan if v is None else v for v in voltages])

    @property
    def world(self) -> World:
        """The world behind the driver."""
        return self._world

    def connect(self) -> None:
        """Hold the present position and take the first pictures; a machine that cannot draw has no cameras."""
        self._targets = self._world.position[0].copy()
        self._expose()
        if not self._cameras:
            self.robot = dataclasses.replace(self.robot, cameras=())

    def read(self) -> RobotState:
        """Return the present state."""
        world = self._world
        return RobotState(
            stamp_ns=stamp_of(self._tick),
            position=world.position[0].copy(),
            velocity=world.velocity[0].copy(),
            effort=world.effort[0].copy(),
        )

    def motors(self) -> MotorSensors:
        """Return what the motors say; the voltage is the nominal one."""
        world = self._world
        return dataclasses.replace(
            MotorSensors.unknown(len(self.robot.joints)),
            current_a=world.current[0].copy(),
            torque_nm=world.effort[0].copy(),
            voltage_v=self._voltage.copy(),
            winding_c=world.heat[0, :, 0].copy(),
            housing_c=world.heat[0, :, 1].copy(),
        )

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) from the next tick on; return them within the joints' limits."""
        self._targets = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        return self._targets.copy()

    def frames(self) -> Sequence[Frame]:
        """Return the pictures taken since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Free the GL contexts."""
        self._world.close()

    def advance(self) -> None:
        """Let one control period pass; every second one ends with a picture from each camera."""
        self._world.step(self._targets[None])
        self._tick += 1
        if self._tick % FRAME_TICKS == 0:
            self._expose()

    def reset(self, seed: int) -> None:
        """Lay the world out anew from `seed`; time goes on and the motors stay as warm as they are."""
        self._world.reset([seed], keep_heat=True)
        self._targets = self._world.position[0].copy()

    def environment(self) -> tuple[tuple[str, ...], Array]:
        """Return the names and values (n,) of the ground truth: the things' poses and the goal."""
        return self._world.environment_names, self._world.environment()[0]

    def task(self) -> Mapping[str, object]:
        """Return what is to be done: {"task": text, "name": task name, "seed": seed}."""
        world = self._world
        return {"task": world.goal(0).text, "name": world.task.name, "seed": int(world.seeds[0])}

    def set_goal(self, goal: Goal) -> None:
        """Ask for another goal in the same world."""
        self._world.set_goal(None, goal)

    def success(self) -> bool:
        """Say whether the goal is reached now."""
        return bool(self._world.goal_reached()[0])

    def _expose(self) -> None:
        if not self._cameras:
            return
        try:
            pictures = [(c.name, self._world.render(0, c.name)) for c in self.robot.cameras]
        except NoGraphicsError as error:
            self._cameras = False
            err().print(f"waldo: {error}; going on without cameras")
            return
        stamp = stamp_of(self._tick)
        self._frames += [Frame(camera=name, stamp_ns=stamp, rgb=rgb) for name, rgb in pictures]
