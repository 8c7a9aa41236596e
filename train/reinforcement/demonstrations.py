"""Demonstrations of the scripted operator in the environment of the reinforcement learning, as a LeRobot dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets.schema import ACTION, OBSERVATION_ENVIRONMENT, OBSERVATION_STATE
from waldo.errors import WaldoError
from waldo.sim.environments.intervention_env import STEPS_HZ, InterventionEnv
from waldo.train.reinforcement.settings import REPOSITORY, ReinforceConfig

ATTEMPTS = 4
"""Most episodes per demonstration; the operator drops an object now and then."""


def record_demonstrations(
    config: ReinforceConfig, folder: Path, advance: Callable[[int, int, str], None] = lambda done, total, note: None
) -> None:
    """Record successful episodes in which the scripted operator commands every action.

    Raises:
        WaldoError: If the operator hardly ever succeeds.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    shutil.rmtree(folder, ignore_errors=True)
    env = InterventionEnv(config.task, always=True, after_s=0.0, seed=config.seed)
    joints, values = (len(env.world.robot.joints),), (len(env.world.environment_names),)
    numbers: dict[str, dict[str, Any]] = {
        key: {"dtype": "float32", "shape": shape, "names": None}
        for key, shape in {
            OBSERVATION_STATE: joints,
            OBSERVATION_ENVIRONMENT: values,
            ACTION: joints,
            "next.reward": (1,),
            "complementary_info.discrete_penalty": (1,),
        }.items()
    }
    features = {**numbers, "next.done": {"dtype": "bool", "shape": (1,), "names": None}}
    dataset = LeRobotDataset.create(REPOSITORY, fps=STEPS_HZ, root=folder, features=features, use_videos=False)
    done = 0
    for _ in range(ATTEMPTS * config.demonstrations):
        if done == config.demonstrations:
            break
        rows, success = _episode(env)
        if success:
            for row in rows:
                dataset.add_frame(row)
            dataset.save_episode()
            done += 1
            advance(done, config.demonstrations, "")
    env.close()
    dataset.finalize()
    if done < config.demonstrations:
        raise WaldoError(f"the scripted operator succeeded in {done} of {ATTEMPTS * config.demonstrations} episodes")


def _episode(env: InterventionEnv) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of one episode, and whether it succeeded."""
    observation, info = env.reset()
    rows: list[dict[str, Any]] = []
    success = truncated = False
    nothing = np.zeros(len(env.world.robot.joints), np.float32)
    while not (success or truncated):
        following, reward, success, truncated, about = env.step(nothing)
        rows.append(
            {
                OBSERVATION_STATE: observation["agent_pos"],
                OBSERVATION_ENVIRONMENT: observation["environment_state"],
                ACTION: about["teleop_action"],
                "next.reward": np.array([reward], np.float32),
                "next.done": np.array([success]),
                "complementary_info.discrete_penalty": np.zeros(1, np.float32),
                "task": info["task"],
            }
        )
        observation = following
    return rows, success
