"""Names of LeRobot's policies, read from its source files, since importing LeRobot takes seconds."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

from waldo.errors import MissingExtraError, UnknownNameError


@cache
def policy_names() -> tuple[str, ...]:
    """Return the names of the policies that the installed LeRobot can train, in alphabetical order.

    Raises:
        MissingExtraError: If LeRobot is not installed.
    """
    spec = importlib.util.find_spec("lerobot")
    if spec is None or spec.origin is None:
        raise MissingExtraError("lerobot", "train")
    configurations = Path(spec.origin).parent.glob("policies/*/configuration_*.py")
    found = [
        re.findall(r'PreTrainedConfig\.register_subclass\(\s*(?:name=)?"(\w+)"', p.read_text()) for p in configurations
    ]
    return tuple(sorted(name for names in found for name in names))


def check_policy(name: str) -> None:
    """Raise UnknownNameError, with the closest match, if LeRobot has no such policy."""
    if name not in policy_names():
        raise UnknownNameError("policy", name, policy_names())
