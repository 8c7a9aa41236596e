"""The environment of the reinforcement learning: actions, reward, heat, and a person who takes over."""

import numpy as np
import pytest

from waldo.sim.environments.intervention_env import RECENT, STEP_RAD, STEPS_HZ, InterventionEnv


def run(env: InterventionEnv, action: np.ndarray | None = None) -> tuple[list[dict], list[float], bool]:
    """Run an episode; return what is known of each step, the rewards, and whether it succeeded."""
    env.reset()
    infos, rewards, success, truncated = [], [], False, False
    while not (success or truncated):
        _, reward, success, truncated, info = env.step(np.zeros(6) if action is None else action)
        infos.append(info)
        rewards.append(float(reward))
    return infos, rewards, success


def test_an_action_moves_the_targets_within_a_tenth_of_a_second() -> None:
    env = InterventionEnv("lift", interventions=0.0)
    before, _ = env.reset()
    action = np.array([0.5, 0, 0, 0, 0, 0])
    for _ in range(3):
        after, reward, success, truncated, info = env.step(action)
    assert env.world.robot.joint_names[0] == "shoulder_pan"
    moved = after["agent_pos"] - before["agent_pos"]
    assert moved[0] == pytest.approx(3 * 0.5 * STEP_RAD, abs=0.1)
    assert np.abs(moved[1:]).max() < 0.1
    assert (reward, success, truncated, info["is_intervention"]) == (0.0, False, False, False)
    np.testing.assert_allclose(info["teleop_action"], action)
    assert env.world.ticks[0] == 3 * 60 // STEPS_HZ


def test_actions_beyond_their_range_are_limited() -> None:
    env = InterventionEnv("lift", interventions=0.0)
    env.reset()
    *_, info = env.step(np.full(6, 7.0))
    np.testing.assert_array_equal(info["teleop_action"], np.ones(6))


def test_an_episode_without_success_is_truncated_at_the_horizon() -> None:
    env = InterventionEnv("lift", interventions=0.0)
    infos, rewards, success = run(env)
    assert (len(infos), sum(rewards), success) == (round(env.world.task.horizon_s * STEPS_HZ), 0.0, False)


def test_a_person_takes_over_and_succeeds() -> None:
    env = InterventionEnv("lift", always=True, after_s=1.0)
    infos, rewards, success = run(env)
    assert success
    assert sum(rewards) == rewards[-1] == 1.0
    by_person = [info["is_intervention"] for info in infos]
    assert by_person == [False] * STEPS_HZ + [True] * (len(infos) - STEPS_HZ)
    actions = np.array([info["teleop_action"] for info in infos])
    assert not actions[:STEPS_HZ].any()
    assert np.abs(actions[STEPS_HZ:]).max() > 0.3
    assert (np.abs(actions) == 1.0).mean() < 0.02, "the operator's motions fit into the range of an action"


def test_the_person_s_actions_repeat_the_motion() -> None:
    """What is stored as executed leads to the same success when it is carried out again."""
    person, again = (InterventionEnv("lift", always=person, interventions=0.0, after_s=0.0) for person in (True, False))
    infos, _, success = run(person)
    assert success
    again.reset()
    for info in infos:
        *_, success, _, _ = again.step(info["teleop_action"])
    assert success


def test_worlds_follow_from_the_seed() -> None:
    seeds = []
    for _ in range(2):
        env = InterventionEnv("lift", seed=40)
        seeds.append([int(env.reset()[1]["seed"]) for _ in range(3)])
    assert seeds == [[40, 41, 42]] * 2


def test_heat_is_subtracted_from_the_reward() -> None:
    cold, hot = (InterventionEnv("lift", interventions=0.0, heat_weight=weight) for weight in (0.0, 0.01))
    for env in (cold, hot):
        run(env)
    joules = float(hot.world.duty.joules[0].sum())
    assert joules > 1.0
    assert sum(run(hot)[1]) == pytest.approx(-0.01 * float(hot.world.duty.joules[0].sum()), rel=1e-5)
    assert sum(run(cold)[1]) == 0.0


def test_the_person_takes_over_less_often_as_the_policy_succeeds() -> None:
    env = InterventionEnv("lift", interventions=1.0)
    for _ in range(3):
        env.reset()
        assert env._helps
    env._alone.extend([True] * RECENT)
    for _ in range(3):
        env.reset()
        assert not env._helps
