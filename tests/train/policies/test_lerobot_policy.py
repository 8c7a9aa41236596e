import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo.errors import FileError
from waldo.sim.policy import Policy, observe
from waldo.sim.world import World
from waldo.train.policies.lerobot_policy import LeRobotPolicy, PolicyMismatchError


@pytest.fixture(scope="module")
def policy(trained: Path) -> LeRobotPolicy:
    return LeRobotPolicy(trained)


@pytest.fixture(scope="module")
def world() -> World:
    return World("lift", worlds=4, threads=1)


def test_a_checkpoint_is_a_policy_of_many_worlds(policy: LeRobotPolicy, world: World) -> None:
    assert isinstance(policy, Policy)
    assert (policy.fps, policy.image_keys, policy.lockstep) == (30.0, (), False)
    policy.check(world)
    policy.reset()
    targets = policy.act(observe(world))
    assert targets.shape == (4, 6)
    assert np.isfinite(targets).all()


def test_worlds_are_independent(policy: LeRobotPolicy, world: World) -> None:
    together = observe(world)
    policy.reset()
    all_at_once = [policy.act(together) for _ in range(20)]
    one = {key: value[1:2] for key, value in together.items()}
    policy.reset()
    alone = [policy.act(one) for _ in range(20)]
    np.testing.assert_allclose([t[1] for t in all_at_once], [t[0] for t in alone], atol=1e-5)


def test_a_reset_world_plans_again_and_the_others_continue(policy: LeRobotPolicy, world: World) -> None:
    observation = observe(world)
    policy.reset()
    first, second = policy.act(observation), policy.act(observation)
    assert not np.allclose(first, second)
    policy.reset(np.array([2]))
    third = policy.act(observation)
    np.testing.assert_allclose(third[2], first[2], atol=1e-5)
    assert not np.allclose(third[0], first[0])


def test_a_world_with_other_observations_is_rejected_with_the_difference(policy: LeRobotPolicy) -> None:
    with pytest.raises(PolicyMismatchError) as caught:
        policy.check(World("sort", worlds=1, threads=1))
    needed, provided = len(World("lift").environment_names), len(World("sort").environment_names)
    difference = f"it needs observation.environment_state of shape ({needed},), the world provides ({provided},)"
    assert caught.value.differences == [difference]
    expected = f"does not match this world: {difference}; evaluate it on the task that it was trained for"
    assert str(caught.value) == f"{policy.folder}: {expected}"
    with pytest.raises(PolicyMismatchError) as caught:
        policy.act({"observation.state": np.zeros((1, 6), dtype=np.float32), "task": ["lift"]})
    assert caught.value.differences == ["it needs observation.environment_state, the world provides observation.state"]


def test_joints_in_another_order_are_rejected(trained: Path, world: World, tmp_path: Path) -> None:
    for source in (trained / "checkpoints/last/pretrained_model").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    contract = json.loads((tmp_path / "waldo.json").read_text())
    assert contract["joints"] == list(world.robot.joint_names)
    swapped = [contract["joints"][place] for place in (1, 0, 2, 3, 4, 5)]
    (tmp_path / "waldo.json").write_text(json.dumps(contract | {"joints": swapped}))
    with pytest.raises(PolicyMismatchError) as caught:
        LeRobotPolicy(tmp_path).check(world)
    assert caught.value.differences == [
        f"it commands the joints {', '.join(swapped)}, the robot has {', '.join(world.robot.joint_names)}"
    ]


def test_a_missing_or_damaged_checkpoint_is_reported(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        LeRobotPolicy(tmp_path / "none")
    expected = "no such checkpoint folder; train a policy with: waldo train DATASET --output FOLDER"
    assert str(caught.value) == f"{tmp_path / 'none'}: {expected}"
    with pytest.raises(FileError) as caught:
        LeRobotPolicy(tmp_path)
    expected = (
        "contains no LeRobot checkpoint (no config.json and no checkpoints/last); pass an output folder of waldo train"
    )
    assert str(caught.value) == f"{tmp_path}: {expected}"
    for source in (trained / "checkpoints/last/pretrained_model").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(
        FileError, match=r"cannot be loaded as a LeRobot policy \(SafetensorError: .*\); train it again"
    ):
        LeRobotPolicy(tmp_path)


def test_a_policy_with_a_history_uses_lerobot_s_own(trained: Path, world: World, tmp_path: Path) -> None:
    for source in (trained / "checkpoints/last/pretrained_model").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"temporal_ensemble_coeff": 0.01, "n_action_steps": 1}))
    policy = LeRobotPolicy(tmp_path)
    assert policy.lockstep
    observation = observe(world)
    first, second = policy.act(observation), policy.act(observation)
    assert first.shape == (4, 6)
    assert not np.allclose(first, second)
    policy.reset(np.array([0]))
    np.testing.assert_allclose(policy.act(observation), first, atol=1e-5)


def test_a_policy_that_knows_the_advantage_is_asked_for_good_attempts(
    trained: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (trained / "checkpoints/last/pretrained_model").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    asked: list[str] = []
    for advantage in (False, True):
        contract = json.loads((tmp_path / "waldo.json").read_text())
        (tmp_path / "waldo.json").write_text(json.dumps(contract | {"advantage": advantage}))
        policy = LeRobotPolicy(tmp_path)
        before = policy._before

        def note(batch: dict[str, Any], before: Any = before) -> Any:
            asked.append(batch["task"][0])
            return before(batch)

        monkeypatch.setattr(policy, "_before", note)
        policy.act(observe(world))
    assert asked == [world.instruction(0), f"{world.instruction(0)}, advantage: positive"]
