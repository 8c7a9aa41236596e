"""What a world is asked to do and what it holds, in words: the words that policies and planners are given."""

from __future__ import annotations

from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError

SKILLS = ("lift", "put", "hand_over")
"""Skills that a goal may name: lift(object), put(object, target), hand_over(object)."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One subtask: a skill applied to an object, and for `put` the place where it shall end."""

    skill: str
    """`lift`, `put` or `hand_over`."""
    object: str
    """The object's name, such as "red cube"."""
    target: str | None = None
    """The place to put the object ("left bin"); only for `put`."""

    def __post_init__(self) -> None:
        """Refuse a skill that does not exist and a target where none belongs or one is missing."""
        if self.skill not in SKILLS:
            raise UnknownNameError("skill", self.skill, SKILLS)
        if (self.skill == "put") != (self.target is not None):
            expected = "a place to put the object" if self.skill == "put" else f"none, as {self.skill} takes no target"
            raise InvalidValueError("target", self.target, expected)

    @property
    def text(self) -> str:
        """The goal as an instruction, such as "put the red cube in the left bin"."""
        if self.skill == "put":
            return f"put the {self.object} in the {self.target}"
        return f"{self.skill.replace('_', ' ')} the {self.object}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is there, by name."""

    objects: tuple[str, ...]
    """Things that can be moved, such as ("red cube", "blue cube")."""
    targets: tuple[str, ...]
    """Places that things can be put in, such as ("left bin", "right bin"); may be empty."""
    holding: str | None = None
    """The object in the hand now, one of `objects`, or None."""
