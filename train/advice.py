"""Advice for failures of lerobot-train that one option avoids, recognized by the text of its output."""

from __future__ import annotations

import re
from collections.abc import Sequence

OFFLINE = re.compile(
    r"OfflineModeIsEnabled|LocalEntryNotFoundError|outgoing traffic has been disabled|HF_HUB_OFFLINE"
    r"|couldn't connect to '?https://huggingface\.co|Cannot send a request|client has been closed"
    r"|ConnectionError|Name or service not known|Temporary failure in name resolution|URLError|ProxyError|HTTPError"
)
"""A model that would have to be downloaded."""

PLUGIN_FAILED = re.compile(r"Could not import third-party plugin: (\S+)")

BACKBONE = re.compile(r"torchvision[/\\]models|download\.pytorch\.org|load_state_dict_from_url")
"""Weights of an image backbone, which come from PyTorch's server and not from the hub."""

BACKBONE_ADVICE = "train the image backbone from scratch: -- --policy.pretrained_backbone_weights=null"
HUB_ADVICE = "set HF_HUB_OFFLINE=0 to download it"

MODEL_OPTIONS = {
    "smolvla": "--policy.vlm_model_name",
    "evo1": "--policy.vlm_model_name",
    "eo1": "--policy.vlm_base",
    "vla_jepa": "--policy.qwen_model_name",
    "wall_x": "--policy.pretrained_name_or_path",
}
"""Policy -> option with the folder or hub name of the vision-language model that it is built on."""


def advice(policy: str, lines: Sequence[str]) -> str:
    """Return what the user can do about a failure; empty if that is unknown.

    Args:
        policy: LeRobot's name of the policy.
        lines: Output of lerobot-train.
    """
    text = "\n".join(lines)
    if match := PLUGIN_FAILED.search(text):
        return f"the plug-in {match[1]} cannot be imported"
    if BACKBONE.search(text) and OFFLINE.search(text):
        return BACKBONE_ADVICE
    if OFFLINE.search(text):
        option = MODEL_OPTIONS.get(policy)
        return f"{HUB_ADVICE}, or pass a local folder: -- {option}=FOLDER" if option else HUB_ADVICE
    return ""
