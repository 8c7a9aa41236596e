"""Work that tests pickle to other processes.

The modules of the tests cannot be imported there: a distribution that LeRobot depends on installs a package `tests`.
"""

from __future__ import annotations

import os

from waldo.errors import FileError


def double(number: int) -> tuple[int, int]:
    """Return the doubled number and the id of this process."""
    return 2 * number, os.getpid()


def fail(number: int) -> int:
    """Return the number, or raise for 3."""
    if number == 3:
        raise ValueError("item 3 failed")
    return number


def find_damage(number: int) -> int:
    """Return the number, or raise an error of waldo's for 3."""
    if number == 3:
        raise FileError("episode 3", "is damaged", "run waldo check")
    return number


class Adder:
    """Work that is a callable object."""

    def __init__(self, summand: int) -> None:
        self.summand = summand

    def __call__(self, number: int) -> int:
        """Return the sum."""
        return number + self.summand
