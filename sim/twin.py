"""The simulated twin of a robot: a driver for one world of a task, in simulated time.

The same seed and commands give the same readings bit for bit: time is counted in control ticks, timestamps are computed
from the tick number, and images are exposed at every second tick and delivered two ticks later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.sim.camera import CameraThread
from waldo.sim.tasks.goal import Goal
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

FRAME_TICKS = 2
"""Control ticks between two images: 30 fps."""


def stamp_of(tick: int) -> int:
    """Return the simulated time of a control tick [ns], without accumulated rounding error."""
    return round(tick * 1_000_000_000 / CONTROL_HZ)


class TwinDriver:
    """A SimulatedDriver (waldo.robots.driver) over one world."""

    def __init__(
        self,
        robot: Robot,
        task: str = "lift",
        cameras: bool = True,
        seed: int = 0,
        start_c: float | None = None,
        ambient_c: float = AMBIENT_C,
        goals: int = 1,
    ) -> None:
        """Build the world and reset it with `seed`.

        Args:
            robot: The robot.
            task: Registered name of the task.
            cameras: Whether images are rendered.
            seed: Seed of the first layout.
            start_c: Temperature of windings and housings at the start [°C]; None for ambient.
            ambient_c: Ambient temperature [°C].
            goals: Goals that are pursued in each scene, one after another; each has a seed of its own.
        """
        self.robot = robot
        self._world = World(task, worlds=1, threads=1, robot=robot)
        self._world.motors.ambient_c = ambient_c
        if goals < 1:
            raise InvalidValueError("goals", goals, "a number from 1")
        if goals > 1:
            self._world.task.another_object(self._world.goal(0).object)
        self._goals = goals
        self._world.reset([seed // goals], warm=None if start_c is None else [start_c, start_c])
        self._skip_goals(seed % goals)
        self._cameras = CameraThread(self._world.model, robot.cameras if cameras else ())
        self._tick = 0
        self._targets = self._world.position[0].copy()
        self._frames: list[Frame] = []
        voltages = [joint.motor.voltage_v for joint in robot.joints]
        self._voltage = np.array([np.nan if v is None else v for v in voltages])

    @property
    def world(self) -> World:
        """The simulated world."""
        return self._world

    def connect(self) -> None:
        """Hold the current position and render the first images; without graphics the robot has no cameras."""
        self._targets = self._world.position[0].copy()
        self._expose()
        self._frames = self._cameras.finish()
        self.robot = dataclasses.replace(self.robot, cameras=self._cameras.cameras)

    def read(self) -> RobotState:
        """Return the current state."""
        world = self._world
        return RobotState(
            stamp_ns=stamp_of(self._tick),
            position=world.position[0].copy(),
            velocity=world.velocity[0].copy(),
            effort=world.effort[0].copy(),
        )

    def motors(self) -> MotorSensors:
        """Return the motor readings; the voltage is the nominal one."""
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
        """Set the position targets (joints,) [rad] from the next tick on; return them clipped to the joint limits."""
        self._targets = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        return self._targets.copy()

    def frames(self) -> Sequence[Frame]:
        """Return the images delivered since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Free the GL contexts."""
        self._cameras.close()
        self._world.close()

    def advance(self) -> None:
        """Advance one control period; at the end of every second one each camera exposes an image."""
        self._world.step(self._targets[None])
        self._tick += 1
        if self._tick % FRAME_TICKS == 0:
            self._expose()

    def reset(self, seed: int) -> bool:
        """Reset the world with `seed`; time continues and the motors keep their temperatures.

        With several goals for each scene, the next goal follows in the same scene, from where the arm is.

        Returns:
            Whether the arm was moved.
        """
        scene, number = divmod(seed, self._goals)
        if number and int(self._world.seeds[0]) == scene:
            self._world.next_goal()
            return False
        self._cameras.finish()  # Images of the world before are not delivered in this one.
        self._world.reset([scene], keep_heat=True)
        self._skip_goals(number)
        self._targets = self._world.position[0].copy()
        return True

    def _skip_goals(self, number: int) -> None:
        for _ in range(number):
            self._world.next_goal()

    def environment(self) -> tuple[tuple[str, ...], Array]:
        """Return the names and values (n,) of the ground truth: object poses and the goal."""
        return self._world.environment_names, self._world.environment()[0]

    def task(self) -> Mapping[str, object]:
        """Return the task: {"task": instruction, "name": task name, "seed": seed}."""
        world = self._world
        return {"task": world.instruction(0), "name": world.task.name, "seed": int(world.seeds[0])}

    def set_goal(self, goal: Goal) -> None:
        """Set another goal in the same world."""
        self._world.set_goal(None, goal)

    def success(self) -> bool:
        """Return whether the goal is reached now."""
        return bool(self._world.goal_reached()[0])

    def _expose(self) -> None:
        self._frames += self._cameras.expose(lambda data: self._world.copy_state(0, data), stamp_of(self._tick))
