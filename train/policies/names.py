"""The names of LeRobot's policies, read from its source so that nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

from waldo.errors import MissingExtraError, UnknownNameError


@cache
def policy_names() -> tuple[str, ...]:
    """Return every policy that the installed LeRobot can train, in alphabetical order."""
    spec = importlib.util.find_spec("lerobot")
    if spec is None or spec.origin is None:
        raise MissingExtraError("lerobot", "train")
    configurations = Path(spec.origin).parent.glob("policies/*/configuration_*.py")
    found = [
        re.findall(r'PreTrainedConfig\.register_subclass\(\s*(?:name=)?"(\w+)"', p.read_text()) for p in configurations
    ]
    return tuple(sorted(name for names in found for name in names))


def check_policy(name: str) -> None:
    """Refuse a policy that LeRobot does not have, and say which one was probably meant."""
    if name not in policy_names():
        raise UnknownNameError("policy", name, policy_names())
