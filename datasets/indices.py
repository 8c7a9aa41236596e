"""Sets of episode indices as text: `0-9,12` stands for the first ten episodes and the one with index 12."""

from __future__ import annotations

import re
from collections.abc import Iterable

from waldo.errors import InvalidValueError

PART = re.compile(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*")
"""A number, or the first and last number of a range."""

MAX_RANGE = 1_000_000
"""Longest range; a longer one is a mistake, and would take gigabytes."""


def format_indices(indices: Iterable[int]) -> str:
    """Return indices as text, in increasing order."""
    ranges: list[list[int]] = []
    for index in sorted(set(indices)):
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def parse_indices(text: str) -> set[int]:
    """Return the indices that a text stands for.

    Raises:
        InvalidValueError: If the text is not a list of numbers and ranges.
    """
    found: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        match = PART.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InvalidValueError("episodes", text, "numbers and ranges, such as 0-9,12")
        if last - first >= MAX_RANGE:
            raise InvalidValueError("episodes", text, f"ranges of at most {MAX_RANGE:,} episodes")
        found.update(range(first, last + 1))
    return found
