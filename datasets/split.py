"""Splitting episodes into parts, by fractions of each task or by indices."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from waldo.datasets.catalog import Entry
from waldo.errors import ConfigError, InvalidValueError, count


class MixedPartsError(ConfigError):
    """Parts given both as fractions and as indices."""

    def __init__(self, parts: Iterable[str]) -> None:
        """Build the message from the names of the parts."""
        super().__init__(f"parts {', '.join(parts)} mix fractions and episodes; use one kind for all parts")


class OverlappingPartsError(ConfigError):
    """An episode that is in two parts."""

    def __init__(self, episode: int, first: str, second: str) -> None:
        """Build the message from the episode's index and the names of the two parts."""
        super().__init__(f"episode {episode} is in both {first} and {second}; assign it to one part")


class EmptyPartError(ConfigError):
    """A part without episodes."""

    def __init__(self, part: str, total: int) -> None:
        """Build the message from the part's name and the number of episodes to split."""
        super().__init__(f"part {part} would contain no episode (of {count(total, 'episode')}); give it more episodes")


def split(entries: Sequence[Entry], parts: Mapping[str, float | set[int]], seed: int) -> dict[str, list[int]]:
    """Return part -> indices in increasing order; no episode is in two parts.

    Args:
        entries: The episodes to split.
        parts: Name -> fraction of each task in (0, 1], or the indices of the episodes.
        seed: Seed of the random draw.

    Each part gets the whole number of episodes below its fraction, and the remaining ones go to the parts that are
    furthest below theirs. Fractions with a sum below 1 leave episodes out.
    """
    indices = {name: part for name, part in parts.items() if isinstance(part, set)}
    fractions = {name: part for name, part in parts.items() if not isinstance(part, set)}
    if indices and fractions:
        raise MixedPartsError(parts)
    if len(parts) < 1:
        raise InvalidValueError("parts", "none", "at least one, such as train=0.9")
    return _by_index(entries, indices) if indices else _by_fraction(entries, fractions, seed)


def _by_index(entries: Sequence[Entry], parts: Mapping[str, set[int]]) -> dict[str, list[int]]:
    """Assign to each part the episodes with its indices."""
    available = {entry.episode for entry in entries}
    assigned: dict[int, str] = {}
    for name, part in parts.items():
        if twice := sorted(part & assigned.keys()):
            raise OverlappingPartsError(twice[0], assigned[twice[0]], name)
        if not part & available:
            raise EmptyPartError(name, len(entries))
        assigned |= dict.fromkeys(part, name)
    return {name: sorted(part & available) for name, part in parts.items()}


def _by_fraction(entries: Sequence[Entry], fractions: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Draw each part's fraction of every task."""
    for name, fraction in fractions.items():
        if not 0 < fraction <= 1:
            raise InvalidValueError(f"part {name}", fraction, "a fraction above 0 and at most 1")
    if (total := sum(fractions.values())) > 1 + 1e-9:
        raise InvalidValueError("the sum of the fractions", round(total, 6), "at most 1")
    by_task: defaultdict[str, list[int]] = defaultdict(list)
    for entry in entries:
        by_task[entry.task].append(entry.episode)
    found: dict[str, list[int]] = {name: [] for name in fractions}
    owed = dict.fromkeys(fractions, 0.0)
    draw = random.Random(seed)
    for _, indices in sorted(by_task.items()):
        draw.shuffle(indices)
        start = 0
        for name, number in _counts(len(indices), fractions, owed).items():
            found[name] += indices[start : start + number]
            start += number
    for name, indices in found.items():
        if not indices:
            raise EmptyPartError(name, len(entries))
    return {name: sorted(indices) for name, indices in found.items()}


def _counts(total: int, fractions: Mapping[str, float], owed: dict[str, float]) -> dict[str, int]:
    """Return how many episodes of a task each part gets; rounding errors are carried over to the next task."""
    for name, fraction in fractions.items():
        owed[name] += fraction * total
    got = {name: min(total, int(owed[name] + 1e-9)) for name in fractions}
    while sum(got.values()) > total:
        got[max(got, key=lambda name: got[name] - owed[name])] -= 1
    left = round(min(total, sum(owed.values()))) - sum(got.values())
    for name in sorted(fractions, key=lambda name: got[name] - owed[name])[: max(0, left)]:
        got[name] += 1
    for name in fractions:
        owed[name] -= got[name]
    return got
