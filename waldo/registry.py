"""Registries of drivers, robots, tasks, devices and formats, filled by entry points.

A package registers an implementation in its `pyproject.toml`, and waldo finds it without an edit:

    [project.entry-points."waldo.drivers"]
    my_arm = "my_package.driver:MyArmDriver"

waldo's own implementations are registered the same way. Nothing is imported before it is loaded by name.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from waldo.errors import UnknownNameError

GROUPS = (
    "waldo.robots",
    "waldo.robot_models",
    "waldo.drivers",
    "waldo.devices",
    "waldo.tasks",
    "waldo.experts",
    "waldo.formats",
    "waldo.rest_poses",
)
"""The entry-point groups that waldo reads."""


@cache
def entries(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name; the mapping is cached, so an item that is set stays registered."""
    # An extension may not replace a name of waldo's own: sorted so that waldo's entries come last and win.
    found = sorted(entry_points(group=group), key=lambda entry: entry.value.startswith("waldo."))
    return {entry.name: entry for entry in found}


def names(group: str) -> tuple[str, ...]:
    """Return the registered names of an entry-point group, in alphabetical order."""
    return tuple(sorted(entries(group)))


def load(group: str, name: str, kind: str) -> Any:
    """Import and return the object registered as `name` in an entry-point group.

    Args:
        group: The entry-point group, such as `waldo.drivers`.
        name: The registered name.
        kind: The noun for error messages, such as "driver".

    Raises:
        UnknownNameError: If no entry point has this name; the message lists the registered names.
    """
    found = entries(group)
    if name not in found:
        raise UnknownNameError(kind, name, found)
    return found[name].load()
