"""Real-time chunking: a policy continues the actions that a robot carries out while the policy infers.

Black, Galliker and Levine 2025, "Real-Time Execution of Action Chunking Flow Policies", arXiv:2506.07339. LeRobot
implements it for its flow-matching policies; a request contains the two keys below, and the metadata of a server state
whether it uses them.
"""

from __future__ import annotations

from typing import Any

PREFIX = "action_prefix"
"""Key of the actions that the robot carries out from the time of the observation on, (actions, joints)."""

DELAY = "inference_delay"
"""Key of how many of these will have been carried out when the answer arrives."""


def enable_rtc(policy: Any) -> bool:
    """Let a LeRobot policy accept the actions that it shall continue; return whether it can."""
    supports, start = getattr(policy, "supports_rtc", None), getattr(policy, "init_rtc_processor", None)
    if not (callable(supports) and callable(start) and supports()):
        return False
    from lerobot.policies.rtc.configuration_rtc import RTCConfig

    policy.config.rtc_config = RTCConfig()
    start()
    return True
