"""The gymnasium environments pass gymnasium's own check and follow LeRobot's convention."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import waldo.sim.environments.gym_env  # registers the environments
from waldo.sim.tasks.task import task_names

assert waldo.sim.environments.gym_env.STEPS_HZ == 30


@pytest.mark.parametrize("task", task_names())
def test_gymnasium_s_check_passes(task):
    env = gymnasium.make(f"waldo/{task.capitalize()}-v0")
    with warnings.catch_warnings():
        # Actions are joint positions in rad, not normalized to -1..1.
        warnings.filterwarnings("ignore", message=".*For Box action spaces, we recommend using a symmetric.*")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.usefixtures("gl")
def test_images_are_height_width_channels():
    env = gymnasium.make("waldo/Lift-v0", cameras=True, render_mode="rgb_array")
    observation, info = env.reset(seed=4)
    assert {name: image.shape for name, image in observation["pixels"].items()} == {
        "front": (240, 320, 3),
        "wrist": (240, 320, 3),
    }
    assert observation["agent_pos"].shape == (6,)
    assert observation["environment_state"].shape == (8,)
    assert info["task"] == "lift the red cube"
    assert info["is_success"] is False
    image = env.render()
    assert isinstance(image, np.ndarray)
    assert image.shape == (480, 640, 3)
    env.close()


def test_an_episode_is_truncated_at_the_horizon():
    env = gymnasium.make("waldo/Lift-v0")
    env.reset(seed=1)
    home = env.unwrapped.world.robot.home.astype(np.float32)  # type: ignore[attr-defined]
    steps, truncated = 0, False
    while not truncated:
        _, reward, terminated, truncated, info = env.step(home)
        steps += 1
        assert (reward, terminated, info["is_success"]) == (0.0, False, False)
    assert steps == 270
