"""Many copies of a task's world, stepped together: physics on a thread pool, and motor heat.

Physics runs at the model's own time step, control at 60 Hz. The trajectory of a world depends only on its seed and its
commands: it is the same bit for bit alone or among a thousand worlds, on one thread or on many.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot, load_robot
from waldo.robots.thermal.duty import DutyMeter
from waldo.sim.camera import Renderer
from waldo.sim.engine import Data, batch, mujoco
from waldo.sim.heat import SimulatedHeat
from waldo.sim.tasks.goal import Goal, Scene
from waldo.sim.tasks.task import Task, load_task
from waldo.typing import Array

CONTROL_HZ = 60
"""Control rate [Hz]."""
HELD_M = 0.02
"""An object raised this far above its resting height counts as held [m]."""


class World:
    """The worlds of one task. Arrays have a leading axis of worlds; joints are in the order of `robot.joint_names`."""

    def __init__(
        self, task: str | Task, *, worlds: int = 1, threads: int | None = None, robot: Robot | None = None
    ) -> None:
        """Build the worlds and reset world i with seed i.

        Args:
            task: The task or its registered name.
            worlds: Number of worlds.
            threads: Threads of the physics; None: all cores, at most 8.
            robot: Robot with the joint names of the task's preset; None: the preset itself.
        """
        if worlds < 1:
            raise InvalidValueError("worlds", worlds, "a number from 1")
        self.task = load_task(task) if isinstance(task, str) else task
        self.robot = robot or load_robot(self.task.robot)
        self.worlds = worlds
        if self.robot.joint_names != load_robot(self.task.robot).joint_names:
            raise InvalidValueError(
                "robot", self.robot.name, f"{self.task.robot}, whose joints the task {self.task.name} needs"
            )
        self.model = self.task.compile(self.robot)
        count = min(os.cpu_count() or 1, 8) if threads is None else threads
        self._batch = batch.Batch(self.model, worlds, min(max(count, 1), worlds))
        self._bind()
        self.substeps = round(1 / CONTROL_HZ / self.model.opt.timestep)
        if not np.isclose(self.substeps * self.model.opt.timestep, 1 / CONTROL_HZ):
            raise InvalidValueError("timestep", self.model.opt.timestep, f"a whole part of 1/{CONTROL_HZ} s")
        self.motors = SimulatedHeat(self.robot, worlds, 1 / CONTROL_HZ, self._actuators, self.model.nu)
        """Temperatures and load of the motors."""
        self.ticks = np.zeros(worlds, dtype=np.int64)
        self._seeds = np.zeros(worlds, dtype=np.int64)
        self._goals: list[Goal] = [self.task.sample_goal(np.random.default_rng(0))] * worlds
        self._instructed = list(self._goals)
        self._phrases = [""] * worlds
        self._goal_numbers = np.zeros(worlds, dtype=np.int64)
        self.reset(range(worlds))

    def _bind(self) -> None:
        """Look up the indices of the joints, actuators and objects in MuJoCo's arrays."""
        model, names = self.model, self.robot.joint_names
        for name in names:
            if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name) < 0:
                raise InvalidValueError("mjcf", str(self.robot.mjcf_path), f"a joint and an actuator named {name!r}")
        self._qpos_at = np.array([model.joint(name).qposadr[0] for name in names])
        self._qvel_at = np.array([model.joint(name).dofadr[0] for name in names])
        self._actuators = np.array([model.actuator(name).id for name in names])
        keys = [one.key for one in self.task.objects]
        self._object_qpos = np.array([model.joint(key).qposadr[0] + np.arange(7) for key in keys])
        self._object_qvel = np.array([model.joint(key).dofadr[0] + np.arange(6) for key in keys])
        self._qpos, self._qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._ctrl, self._force = self._batch.bind("ctrl"), self._batch.bind("actuator_force")
        self._friction, self._mass = self._batch.expand("geom_friction"), self._batch.expand("body_mass")
        self._inertia = self._batch.expand("body_inertia")
        self._object_geoms = np.array([model.geom(key).id for key in keys])
        self._object_bodies = np.array([model.body(key).id for key in keys])

    def reset(
        self,
        seeds: Sequence[int],
        which: ArrayLike | None = None,
        *,
        warm: ArrayLike | None = None,
        keep_heat: bool = False,
    ) -> None:
        """Reset worlds to the layouts that their seeds give.

        Args:
            seeds: One seed for each world to reset.
            which: Indices of the worlds; None: all.
            warm: Temperatures of winding and housing at the start, (..., 2) or (..., motors, 2) [°C]; None: ambient.
            keep_heat: Whether the motors keep their temperatures and counted load.
        """
        indices = np.arange(self.worlds) if which is None else np.atleast_1d(np.asarray(which, dtype=np.int64))
        if len(seeds) != len(indices):
            raise InvalidValueError("seeds", len(seeds), f"{len(indices)}, one for each world to reset")
        if not len(indices):
            return
        order = np.argsort(indices)
        ids = indices[order]
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        for seed, world in zip(seeds, indices, strict=True):
            self._randomize(int(seed), int(world))
        self._index_goals()
        self._batch.set_const(ids)
        self._batch.forward(ids)
        self.ticks[indices] = 0
        if keep_heat:
            self.motors.settle(indices)
        else:
            self.motors.restart(indices, warm)

    def add_mass(self, body: str, mass_kg: float) -> None:
        """Add mass to a body of the robot at its center of mass [kg], in all worlds; takes effect at the next reset."""
        self._mass[:, self.model.body(body).id] += mass_kg

    def _randomize(self, seed: int, world: int) -> None:
        rng = np.random.default_rng([seed & 0xFFFFFFFF, *self.task.name.encode()])
        home = self.robot.home if self.task.home is None else np.array(self.task.home)
        start = np.clip(home + rng.normal(0, self.task.home_noise, len(home)), self.robot.lower, self.robot.upper)
        self._qpos[world, self._qpos_at] = start
        self._ctrl[world, self._actuators] = start
        self._qpos[world, self._object_qpos] = self.task.sample_poses(rng)
        self._goals[world] = self.task.sample_goal(rng)
        geoms, bodies = self._object_geoms, self._object_bodies
        self._friction[world, geoms] = self.model.geom_friction[geoms] * rng.uniform(0.9, 1.1, (len(geoms), 1))
        scale = rng.uniform(0.9, 1.1, len(bodies))
        self._mass[world, bodies] = self.model.body_mass[bodies] * scale
        self._inertia[world, bodies] = self.model.body_inertia[bodies] * scale[:, None]
        self._instructed[world] = self._goals[world]
        self._phrases[world] = self.task.sample_phrase(self._goals[world], rng)
        self._seeds[world] = seed
        self._goal_numbers[world] = 0

    def step(self, targets: ArrayLike, which: NDArray[np.int64] | None = None) -> None:
        """Apply position targets (worlds, joints) [rad] for 1/60 s in the worlds `which` (None: all)."""
        self._ctrl[:, self._actuators] = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        self._batch.step(ids=which, nstep=self.substeps)
        self.ticks[slice(None) if which is None else which] += 1
        self.motors.add(self._force, which)

    @property
    def position(self) -> Array:
        """Joint positions, (worlds, joints) [rad]."""
        return self._qpos[:, self._qpos_at]

    @property
    def velocity(self) -> Array:
        """Joint velocities, (worlds, joints) [rad/s]."""
        return self._qvel[:, self._qvel_at]

    @property
    def effort(self) -> Array:
        """Joint torques of the drives, (worlds, joints) [N·m]."""
        return self._force[:, self._actuators]

    @property
    def heat(self) -> Array:
        """Temperatures of winding and housing, (worlds, joints, 2) [°C]."""
        return self.motors.state_c

    @property
    def current(self) -> Array:
        """Currents of the drives, (worlds, joints) [A]."""
        return self.motors.motor_torque(self.effort) / self.motors.torque_constant

    @property
    def duty(self) -> DutyMeter:
        """Load of the motors since their last reset."""
        return self.motors.duty

    @property
    def seconds(self) -> Array:
        """Time since the reset of each world, (worlds,) [s]."""
        return self.ticks / CONTROL_HZ

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Seed of each world's last reset, (worlds,)."""
        return self._seeds.copy()

    @property
    def poses(self) -> Array:
        """Poses of the objects, (worlds, objects, 7): x y z qw qx qy qz [m]; qw is never negative."""
        poses = self._qpos[:, self._object_qpos]
        poses[..., 3:] *= np.where(poses[..., 3:4] < 0, -1.0, 1.0)
        return poses

    @property
    def environment_names(self) -> tuple[str, ...]:
        """Names of the values of `environment()`: "red_cube.x" ... "goal.red_cube" ... "goal.left_bin"."""
        return self.task.environment_names

    def environment(self) -> Array:
        """Return the ground truth, (worlds, n): the poses of the objects, then the goal one-hot."""
        return np.concatenate([self.poses.reshape(self.worlds, -1), self._goal_values], axis=1)

    def _index_goals(self) -> None:
        """Compute once what every tick needs of the goals: their one-hot values, and which worlds share a goal."""
        self._goal_values = np.array([self._one_hot(goal) for goal in self._instructed])
        self._sharing = {goal: np.array([g == goal for g in self._goals]) for goal in set(self._goals)}

    def _one_hot(self, goal: Goal) -> list[float]:
        objects = [float(name == goal.object) for name in self.task.object_names]
        return objects + [float(name == goal.target) for name in self.task.bin_names]

    def goal(self, world: int) -> Goal:
        """Return the goal of a world."""
        return self._goals[world]

    def instruction(self, world: int) -> str:
        """Return the instruction of a world, in words that its seed chose."""
        goal, phrase = self._instructed[world], self._phrases[world]
        return phrase.format(object=goal.object, target=goal.target) if phrase else goal.text

    def next_goal(self, which: ArrayLike | None = None) -> None:
        """Give the worlds `which` (None: all) a goal with another object and target in the same scene.

        The seeds of the worlds choose it.

        Raises:
            UnsupportedOptionError: If the task has only one object, or names only one.
        """
        for world in range(self.worlds) if which is None else np.atleast_1d(np.asarray(which, dtype=np.int64)):
            before, index = self._goals[int(world)], int(world)
            self._goal_numbers[index] += 1
            rng = np.random.default_rng([int(self._seeds[index]) & 0xFFFFFFFF, int(self._goal_numbers[index])])
            goal = self.task.sample_another_goal(before, rng)
            self._goals[index] = self._instructed[index] = goal
            self._phrases[index] = self.task.sample_phrase(goal, rng)
        self._index_goals()

    def set_goal(self, which: ArrayLike | None, goal: Goal) -> None:
        """Set the goal of the worlds `which` (None: all), whose instruction becomes the text of the goal.

        Raises:
            UnsupportedOptionError, UnknownNameError: If the task has no such goal.
        """
        self.task.check(goal)
        for world in range(self.worlds) if which is None else np.atleast_1d(np.asarray(which, dtype=np.int64)):
            self._goals[int(world)] = self._instructed[int(world)] = goal
            self._phrases[int(world)] = ""
        self._index_goals()

    def instruct(self, goals: Mapping[int, Goal]) -> None:
        """Give the policy other goals than those of the worlds, in words and as one-hot values, until the next reset.

        Args:
            goals: World -> goal that the policy receives.

        Raises:
            UnsupportedOptionError, UnknownNameError: If the task has no such goal.
        """
        for world, goal in goals.items():
            self.task.check(goal)
            self._instructed[world] = goal
        self._index_goals()

    def goal_reached(self) -> NDArray[np.bool_]:
        """Return in which worlds the goal is reached now, (worlds,)."""
        poses = self.poses
        speeds = np.linalg.norm(self._qvel[:, self._object_qvel][..., :3], axis=-1)
        reached = np.zeros(self.worlds, dtype=bool)
        for goal, worlds in self._sharing.items():
            reached |= worlds & self.task.reached(goal, poses, speeds)
        return reached

    def scene(self, world: int) -> Scene:
        """Return the objects and targets of a world in words."""
        task = self.task
        resting = np.array([task.surface_m + one.half[2] for one in task.objects])
        raised = self.poses[world, :, 2] - resting
        highest = int(np.argmax(raised))
        holding = task.object_names[highest] if raised[highest] > HELD_M else None
        return Scene(objects=task.object_names, targets=task.bin_names, holding=holding)

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self.model)

    @cached_property
    def _data(self) -> Data:
        return mujoco.MjData(self.model)

    def render(self, world: int, camera_name: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return a camera's image of a world, uint8 (height, width, 3).

        Args:
            world: Index of the world.
            camera_name: Name of the camera.
            size: Width and height of the image [px]; None: the camera's own.
        """
        return self.render_cameras(world, {camera_name: size or self.image_size(camera_name)})[camera_name]

    def render_cameras(self, world: int, sizes: Mapping[str, tuple[int, int]]) -> dict[str, NDArray[np.uint8]]:
        """Return camera -> image of a world, uint8 (height, width, 3), from one copy of its state.

        Args:
            world: Index of the world.
            sizes: Camera -> width and height of its image [px].
        """
        self.copy_state(world, self._data)
        return {name: self._renderer.render(self._data, name, *size) for name, size in sizes.items()}

    def image_size(self, camera_name: str) -> tuple[int, int]:
        """Return the width and height of a camera's images [px]."""
        known = {c.name: (c.width, c.height) for c in self.robot.cameras}
        return known.get(camera_name, (320, 240))

    def copy_state(self, world: int, data: Data) -> None:
        """Copy the state of a world to `data`, and compute the poses of what is rendered."""
        self._batch.get_data(world, data)
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_camlight(self.model, data)

    def close(self) -> None:
        """Free the GL contexts."""
        if "_renderer" in self.__dict__:
            self._renderer.close()
            del self.__dict__["_renderer"]
