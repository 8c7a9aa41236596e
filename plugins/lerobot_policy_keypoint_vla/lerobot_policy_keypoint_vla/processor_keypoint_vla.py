"""Processing before and after the policy `keypoint_vla`."""

from __future__ import annotations

from typing import Any

from lerobot.processor import make_default_pre_post_processors

from lerobot_policy_keypoint_vla.configuration_keypoint_vla import KeypointVLAConfig


def make_keypoint_vla_pre_post_processors(config: KeypointVLAConfig, dataset_stats: Any = None) -> tuple[Any, Any]:
    """Return LeRobot's default steps: rename, add a batch axis, move to the device."""
    return make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
