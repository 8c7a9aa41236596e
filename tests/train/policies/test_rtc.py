"""Real-time chunking with LeRobot's own SmolVLA: a new chunk continues the actions that are carried out meanwhile."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from tiny_smolvla import CHUNK, small_options, write_vlm

from waldo.train.policies.contract import Contract, write_contract
from waldo.train.policies.lerobot_policy import LeRobotPolicy
from waldo.train.policies.rtc import DELAY, PREFIX
from waldo.train.serving.batcher import Batcher
from waldo.train.serving.local import describe_policy, load_policy

STATE, FRONT, JOINTS = "observation.state", "observation.images.front", 3
DELAYED = 3
"""Actions that are carried out before the new chunk arrives."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint whose actions are around 1 with a standard deviation of 0.1 rad."""
    vlm, folder = tmp_path_factory.mktemp("vlm"), tmp_path_factory.mktemp("policy")
    write_vlm(vlm)
    torch.manual_seed(0)
    config = SmolVLAConfig(
        device="cpu",
        input_features={
            STATE: PolicyFeature(FeatureType.STATE, (JOINTS,)),
            FRONT: PolicyFeature(FeatureType.VISUAL, (3, 48, 64)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        **small_options(vlm),
    )
    numbers = {"mean": torch.full((JOINTS,), 1.0), "std": torch.full((JOINTS,), 0.1)}
    before, after = make_pre_post_processors(config, dataset_stats={"action": numbers, STATE: numbers})
    for saved in (SmolVLAPolicy(config), before, after):
        saved.save_pretrained(folder)
    write_contract(folder, Contract(fps=20.0, joints=("a", "b", "c"), state=("a", "b", "c"), unit="rad"))
    return folder


@pytest.fixture(scope="module")
def policy(folder: Path) -> LeRobotPolicy:
    return LeRobotPolicy(folder)


def look(**more: Any) -> dict[str, Any]:
    image = np.full((48, 64, 3), 120, np.uint8)
    return {STATE: np.full(JOINTS, 1.0, np.float32), FRONT: image, "task": "lift the cube", **more}


def continued(left: np.ndarray, delay: int = DELAYED) -> dict[str, Any]:
    return look(**{PREFIX: left.astype(np.float32), DELAY: delay})


def test_the_metadata_state_that_the_policy_continues_actions(folder: Path) -> None:
    policy, inputs = load_policy(str(folder), device="cpu", threads=1, aliases={})
    assert describe_policy(policy, inputs)["real_time_chunking"] is True
    assert inputs.prefix_joints == JOINTS


def test_a_chunk_continues_the_actions_that_are_carried_out_meanwhile(policy: LeRobotPolicy) -> None:
    gaps: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(8):
        torch.manual_seed(seed)
        left = policy.predict([look()])[0][CHUNK // 2 :]
        for rtc, observation in ((True, continued(left)), (False, look())):
            chunk = policy.predict([observation])[0]
            assert chunk.shape == (CHUNK, JOINTS)
            gaps[rtc].append(float(np.abs(chunk[:DELAYED] - left[:DELAYED]).max()))
    # In radians: the prefix is normalized for the policy as the actions of its training are.
    assert np.median(gaps[True]) < 0.1 * np.median(gaps[False])


def test_the_actions_after_the_prefix_are_the_policy_s_own(policy: LeRobotPolicy) -> None:
    torch.manual_seed(0)
    left = policy.predict([look()])[0][CHUNK // 2 :]
    assert not np.allclose(policy.predict([continued(left)])[0][len(left) :], left, atol=0.01)


def test_robots_with_and_without_a_prefix_share_a_batch(policy: LeRobotPolicy) -> None:
    torch.manual_seed(0)
    left = policy.predict([look()])[0][CHUNK // 2 :]
    batcher = Batcher(policy)
    requests = [
        look(),
        continued(left),
        continued(left + 0.2),
        continued(left[:2], 1),
        continued(np.tile(left, (9, 1))),
    ]
    waiting = [batcher.submit(request) for request in requests]
    found = [answer.result(timeout=60) for answer in waiting]
    batcher.close()
    assert all(actions.shape == (CHUNK, JOINTS) for actions in found)
    for actions, begun in ((found[1], left), (found[2], left + 0.2)):
        assert np.abs(actions[:DELAYED] - begun[:DELAYED]).max() < 0.05
