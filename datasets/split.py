"""Dividing episodes into parts, by shares within each task or by naming them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from waldo.datasets.catalog import Entry
from waldo.errors import InvalidValueError


def split(entries: Sequence[Entry], parts: Mapping[str, float | set[int]], seed: int) -> dict[str, list[int]]:
    """Return part -> indices in rising order; no episode is in two parts.

    Shares (0..1] are of each task, drawn at random from `seed`; each part gets the whole number nearest below its
    share, and what is left goes where most is missing. Shares below 1 in all leave episodes out.
    """
    named = {name: wanted for name, wanted in parts.items() if isinstance(wanted, set)}
    shares = {name: wanted for name, wanted in parts.items() if not isinstance(wanted, set)}
    if named and shares:
        raise InvalidValueError("parts", ", ".join(parts), "shares for all, or episodes for all")
    if len(parts) < 1:
        raise InvalidValueError("parts", "none", "at least one, such as train=0.9")
    return _by_name(entries, named) if named else _by_share(entries, shares, seed)


def _by_name(entries: Sequence[Entry], parts: Mapping[str, set[int]]) -> dict[str, list[int]]:
    """Give each part the episodes that it names."""
    there = {entry.episode for entry in entries}
    taken: dict[int, str] = {}
    for name, wanted in parts.items():
        if twice := sorted(wanted & taken.keys()):
            raise InvalidValueError(f"part {name}", f"episode {twice[0]}", f"one that is not in {taken[twice[0]]} too")
        if not wanted & there:
            raise InvalidValueError(f"part {name}", "no episode of the dataset", "at least one")
        taken |= dict.fromkeys(wanted, name)
    return {name: sorted(wanted & there) for name, wanted in parts.items()}


def _by_share(entries: Sequence[Entry], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Draw each part's share of every task."""
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise InvalidValueError(f"part {name}", share, "a share above 0 and at most 1")
    if (total := sum(shares.values())) > 1 + 1e-9:
        raise InvalidValueError("shares", f"{total:g} in all", "at most 1")
    by_task: defaultdict[str, list[int]] = defaultdict(list)
    for entry in entries:
        by_task[entry.task].append(entry.episode)
    found: dict[str, list[int]] = {name: [] for name in shares}
    owed = dict.fromkeys(shares, 0.0)
    draw = random.Random(seed)
    for _, indices in sorted(by_task.items()):
        draw.shuffle(indices)
        start = 0
        for name, count in _counts(len(indices), shares, owed).items():
            found[name] += indices[start : start + count]
            start += count
    for name, indices in found.items():
        if not indices:
            raise InvalidValueError(f"part {name}", "no episode", f"a share that gives one of {len(entries)} episodes")
    return {name: sorted(indices) for name, indices in found.items()}


def _counts(count: int, shares: Mapping[str, float], owed: dict[str, float]) -> dict[str, int]:
    """Return how many episodes of a task each part gets; what rounding owes a part is carried to the next task."""
    for name, share in shares.items():
        owed[name] += share * count
    got = {name: min(count, int(owed[name] + 1e-9)) for name in shares}
    while sum(got.values()) > count:
        got[max(got, key=lambda name: got[name] - owed[name])] -= 1
    left = round(min(count, sum(owed.values()))) - sum(got.values())
    for name in sorted(shares, key=lambda name: got[name] - owed[name])[: max(0, left)]:
        got[name] += 1
    for name in shares:
        owed[name] -= got[name]
    return got
