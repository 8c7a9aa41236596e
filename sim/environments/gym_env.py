"""The tasks as gymnasium environments, observations in LeRobot's convention.

    import gymnasium
    import waldo.sim.environments.gym_env  # registers waldo/Lift-v0, waldo/Sort-v0, waldo/Carry-v0
    env = gymnasium.make("waldo/Lift-v0", cameras=True)

A step is 1/30 s (two control ticks). An action is a position target for each joint [rad]. Observations: `agent_pos`
(joints,), `environment_state` (n,) and, with cameras, `pixels` by camera, (height, width, 3) uint8. The reward is 1 in
the step in which the goal is reached, and the episode terminates there; `info["is_success"]` is True in that step.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waldo.sim.tasks.task import load_task, task_names
from waldo.sim.world import CONTROL_HZ, World

STEPS_HZ = 30
"""Steps per second."""
LIMIT_MARGIN_RAD = 0.5
"""Margin of the observation space beyond the joint limits, which a load can push a joint past [rad]."""
POSITION_BOUND_M = 10.0
"""Bound of the observation space for ground-truth values [m]."""

type Observation = dict[str, Any]
type Action = NDArray[np.float32]


class TaskEnv(gymnasium.Env[Observation, Action]):
    """One world of a task."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": STEPS_HZ}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(self, task: str = "lift", cameras: bool = False, render_mode: str | None = None) -> None:
        """Build the world.

        Args:
            task: Registered name of the task.
            cameras: Whether observations contain images.
            render_mode: gymnasium's render mode: None or "rgb_array".
        """
        self.render_mode = render_mode
        self._world = World(task, worlds=1, threads=1)
        self._cameras = self._world.robot.cameras if cameras else ()
        robot = self._world.robot
        self.action_space = spaces.Box(robot.lower.astype(np.float32), robot.upper.astype(np.float32), dtype=np.float32)
        low = (robot.lower - LIMIT_MARGIN_RAD).astype(np.float32)
        high = (robot.upper + LIMIT_MARGIN_RAD).astype(np.float32)
        parts: dict[str, spaces.Space[Any]] = {
            "agent_pos": spaces.Box(low, high, dtype=np.float32),
            "environment_state": spaces.Box(
                -POSITION_BOUND_M, POSITION_BOUND_M, (len(self._world.environment_names),), np.float32
            ),
        }
        if self._cameras:
            boxes: dict[str, spaces.Space[Any]] = {
                c.name: spaces.Box(0, 255, (c.height, c.width, 3), np.uint8) for c in self._cameras
            }
            parts["pixels"] = spaces.Dict(boxes)
        self.observation_space = spaces.Dict(parts)

    @property
    def world(self) -> World:
        """The simulated world."""
        return self._world

    @property
    def task_description(self) -> str:
        """The goal in words, such as "lift the red cube"."""
        return self._world.instruction(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the world with `seed`; None: a seed from the environment's random generator."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        self._world.reset([chosen])
        return self.observe(), self.info()

    def step(self, action: Action) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Apply the position targets `action` (joints,) [rad] for 1/30 s."""
        for _tick in range(CONTROL_HZ // STEPS_HZ):
            self._world.step(np.asarray(action, dtype=float)[None])
        info = self.info()
        return self.observe(), float(info["is_success"]), bool(info["is_success"]), False, info

    def info(self) -> dict[str, Any]:
        """Return what is known of the world beside the observation."""
        world = self._world
        return {
            "is_success": bool(world.goal_reached()[0]),
            "task": self.task_description,
            "seed": int(world.seeds[0]),
            "winding_c": world.heat[0, :, 0].copy(),
        }

    def observe(self) -> Observation:
        """Return the present observation."""
        observation: Observation = {
            "agent_pos": self._world.position[0].astype(np.float32),
            "environment_state": self._world.environment()[0].astype(np.float32),
        }
        if self._cameras:
            observation["pixels"] = {c.name: self._world.render(0, c.name) for c in self._cameras}
        return observation

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return an image of the task's first camera, (480, 640, 3) uint8, if the render mode is "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        return self._world.render(0, self._world.task.cameras[0], (640, 480))

    def close(self) -> None:
        """Free the GL contexts."""
        self._world.close()


def env_id(task: str) -> str:
    """Return the gymnasium id of a task, such as "waldo/Lift-v0"."""
    return f"waldo/{task.capitalize()}-v0"


def register_all() -> None:
    """Register every task with gymnasium unless it is registered already."""
    for name in task_names():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(
                id=env_id(name),
                entry_point="waldo.sim.environments.gym_env:TaskEnv",
                kwargs={"task": name},
                max_episode_steps=round(load_task(name).horizon_s * STEPS_HZ),
            )


register_all()
