"""Sets of episodes as text: `0-9,12` are the first ten and the one with index 12."""

from __future__ import annotations

import re
from collections.abc import Iterable

from waldo.errors import InvalidValueError

PART = re.compile(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*")
"""One number, or the first and the last of a run."""


def format_indices(indices: Iterable[int]) -> str:
    """Return episodes as text, in rising order."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_indices(text: str) -> set[int]:
    """Return the episodes that a text names; what is no such text is refused."""
    found: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        match = PART.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InvalidValueError("episodes", text, "numbers and runs of them, such as 0-9,12")
        found.update(range(first, last + 1))
    return found
