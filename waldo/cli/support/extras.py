"""Which extra of waldo installs a missing package, from the metadata of the installed distribution."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

from waldo import DISTRIBUTION

DISTRIBUTIONS = {
    "diagnostic_msgs": "ros-diagnostic-msgs",
    "scservo_sdk": "feetech-servo-sdk",
    "serial": "pyserial",
    "std_msgs": "ros-jazzy-sensor-msgs",
    "torch": "lerobot",
}
"""Module -> distribution, where the names differ by more than a prefix or suffix."""

EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")


def extra_of(module: str) -> str | None:
    """Return the extra that installs a top-level module: "rclpy" -> "collect"; None if no extra does."""
    distribution = DISTRIBUTIONS.get(module, module.replace("_", "-"))
    best, rank = None, 0
    for requirement in _requirements():
        match = EXTRA.search(requirement)
        if match and (found := _rank(distribution, requirement)) > rank:
            best, rank = match[1], found
    return best


def _requirements() -> list[str]:
    """Return waldo's requirements, those of the extra `all` left out since it repeats the others."""
    try:
        return [
            one for one in requires(DISTRIBUTION) or [] if 'extra == "all"' not in one and f"{DISTRIBUTION}[" not in one
        ]
    except PackageNotFoundError:
        return []


def _rank(distribution: str, requirement: str) -> int:
    """Return how well a distribution's name fits a requirement: 2 for the same name, 1 for a part of it, else 0."""
    name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower()
    if name == distribution:
        return 2
    return int(f"-{distribution}-" in f"-{name}-")
