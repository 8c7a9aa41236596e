"""A task in which a person can take over, for human-in-the-loop reinforcement learning with LeRobot (HIL-SERL).

Luo et al. 2024, "Precise and Dexterous Robotic Manipulation via Human-in-the-Loop Reinforcement Learning",
arXiv:2410.21845. The environment follows the conventions of gym-hil, which LeRobot's actor reads: the executed action
is `info["teleop_action"]`, and `info["is_intervention"]` states whether a person commanded it.

An action moves the target of each joint by up to `STEP_RAD` within 0.1 s; its components are -1 to 1. The reward is 1
in the step in which the goal is reached, minus the heat in the windings times its weight.
"""

from __future__ import annotations

from collections import deque
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from waldo.sim.environments.gym_env import Action, Observation, TaskEnv
from waldo.sim.experts.expert import Expert
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

STEPS_HZ = 10
"""Actions per second."""
STEP_RAD = 0.25
"""Largest motion of a joint in an action [rad]: that of the scripted operator."""
RECENT = 20
"""Episodes without a person from whose success rate the person decides how often to take over."""


class InterventionEnv(gymnasium.Env[Observation, Action]):
    """One world of a task with a scripted person who takes over in some of the episodes."""

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own declaration)

    def __init__(
        self,
        task: str = "lift",
        *,
        interventions: float = 0.5,
        after_s: float = 3.0,
        always: bool = False,
        heat_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Build the world.

        Args:
            task: Registered name of the task.
            interventions: Share of the episodes in which the person takes over while the policy never succeeds; the
                more often it succeeds by itself, the rarer.
            after_s: Time after which the person takes over if the goal is not reached [s]; 0: from the start.
            always: Whether the person takes over in every episode, for demonstrations.
            heat_weight: What a joule in the windings costs [1/J].
            seed: Seed of the first world; each episode takes the next one.
        """
        self._env = TaskEnv(task)
        self._world = self._env.world
        robot = self._world.robot
        self._interventions, self._after_s, self._heat_weight = interventions, after_s, heat_weight
        self._always = always
        self._alone: deque[bool] = deque(maxlen=RECENT)
        self._seed, self._episode = seed, -1
        self._rng = np.random.default_rng([seed & 0xFFFFFFFF, 11])
        joints = len(robot.joints)
        self.action_space = spaces.Box(-1.0, 1.0, (joints,), np.float32)
        self.observation_space = self._env.observation_space
        self._target: Array = robot.home
        self._steps, self._helps = 0, False
        self._expert: Expert | None = None

    @property
    def world(self) -> World:
        """The simulated world."""
        return self._world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the world with the next seed."""
        super().reset(seed=seed)
        self._episode += 1
        observation, info = self._env.reset(seed=self._seed + self._episode)
        self._target, self._steps, self._expert = self._world.position[0].copy(), 0, None
        rate = sum(self._alone) / RECENT
        self._helps = self._always or bool(self._rng.random() < self._interventions * (1 - rate))
        return observation, self._about(info, np.zeros(len(self._world.robot.joints), np.float32), person=False)

    def step(self, action: Action) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Carry out an action, or that of the person."""
        executed = np.clip(np.asarray(action, np.float32).reshape(-1), -1.0, 1.0)
        intended = self._person()
        person = intended is not None
        if intended is not None:
            executed = np.clip((intended - self._target) / STEP_RAD, -1.0, 1.0).astype(np.float32)
        start, robot, ticks = self._target, self._world.robot, CONTROL_HZ // STEPS_HZ
        self._target = np.clip(start + STEP_RAD * executed, robot.lower, robot.upper)
        before = self._heat_j()
        for tick in range(ticks):
            self._world.step((start + (tick + 1) / ticks * (self._target - start))[None])
        self._steps += 1
        success = bool(self._world.goal_reached()[0])
        reward = float(success) - self._heat_weight * (self._heat_j() - before)
        truncated = not success and self._steps >= round(self._world.task.horizon_s * STEPS_HZ)
        if (success or truncated) and (self._expert is None):
            self._alone.append(success)
        observation, info = self._env.observe(), self._env.info()
        return observation, reward, success, truncated, self._about(info, executed, person=person)

    def _person(self) -> Array | None:
        """Return where the person wants the joints after this action, (joints,) [rad]; None if no one takes over."""
        if not self._helps or self._steps < self._after_s * STEPS_HZ:
            return None
        names, values = self._world.environment_names, self._world.environment()[0]
        environment = dict(zip(names, values, strict=True))
        position = self._world.position[0]
        if self._expert is None:
            self._expert = Expert(self._world.task, seed=self._seed + self._episode)
            self._expert.begin(position, environment)
        found: Array | None = None
        for _ in range(CONTROL_HZ // STEPS_HZ):
            found = self._expert.command(position, environment)
            if found is None:
                break
        return found

    def _heat_j(self) -> float:
        """Return the heat in all windings since the last reset [J]."""
        return float(self._world.duty.joules[0].sum())

    def _about(self, info: dict[str, Any], executed: NDArray[np.float32], *, person: bool) -> dict[str, Any]:
        return {**info, "teleop_action": executed, "is_intervention": person}

    def close(self) -> None:
        """Free the world."""
        self._env.close()
