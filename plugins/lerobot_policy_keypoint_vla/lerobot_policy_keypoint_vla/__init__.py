"""The LeRobot policy `keypoint_vla`. Importing it registers the policy, as LeRobot does with every plug-in."""

from lerobot_policy_keypoint_vla.configuration_keypoint_vla import KeypointVLAConfig

__all__ = ["KeypointVLAConfig"]
