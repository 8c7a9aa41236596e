"""A LeRobot checkpoint as the policy of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from waldo.train.policies.lerobot_policy import LeRobotPolicy
from waldo.train.serving.inputs import PolicyInputs, policy_inputs


def describe_policy(policy: LeRobotPolicy, inputs: PolicyInputs) -> dict[str, Any]:
    """Return the metadata that a server sends to its clients: what the policy needs, and what it was trained for."""
    contract = asdict(policy.contract)
    return {
        "policy": policy.folder.resolve().name if policy.folder.name != "pretrained_model" else _run_name(policy),
        "type": policy.type,
        "inputs": {key: list(shape) for key, shape in policy.inputs.items()},
        "images": {key: list(size) for key, size in inputs.images.items()},
        "action_horizon": policy.chunk_length,
        "replan_after": policy.queue_length,
        "action_dim": policy.actions,
        "real_time_chunking": policy.rtc,
        "contract": contract | {"cameras": {key: list(size) for key, size in policy.contract.cameras.items()}},
    }


def _run_name(policy: LeRobotPolicy) -> str:
    """Return the names of the training and of the step: "demo-pick 003000"."""
    parts = policy.folder.resolve().parts
    return " ".join((*parts[-4:-3], *parts[-2:-1])) if len(parts) > 4 else policy.folder.name


def load_policy(
    checkpoint: str, *, device: str, threads: int, aliases: Mapping[str, str]
) -> tuple[LeRobotPolicy, PolicyInputs]:
    """Return a checkpoint and what an observation for it must contain.

    Raises:
        FileError: If there is no checkpoint or it cannot be loaded.
    """
    policy = LeRobotPolicy(checkpoint, device=device, threads=threads)
    return policy, policy_inputs(policy.inputs, aliases, prefix_joints=policy.actions if policy.rtc else None)
