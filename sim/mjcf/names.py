"""Names that can be a part of a ROS topic: letters, digits and underscores, and no digit at the start."""

from __future__ import annotations

import re
from collections.abc import Sequence


def topic_name(text: str, kind: str) -> str:
    """Return a name with the invalid characters replaced: "front-left" -> "front_left", "2f85" -> "robot_2f85".

    Args:
        text: The name in the file.
        kind: Kind of the named part; the name if no valid character remains, and the prefix before a digit.
    """
    if re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII):
        return text
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return f"{kind}_{name}" if name[:1].isdigit() else name or kind


def unique_topic_names(names: Sequence[str], kind: str) -> list[str]:
    """Return a valid name for each part; one without a name is numbered: camera0. Valid names stay as they are."""
    taken = {name for name in names if name and topic_name(name, kind) == name}
    return [
        name if name in taken else _new(topic_name(name, kind) if name else f"{kind}{i}", taken)
        for i, name in enumerate(names)
    ]


def _new(name: str, taken: set[str]) -> str:
    """Return the name, numbered if it is taken, and take it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
