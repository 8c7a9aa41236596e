"""Goals and scenes in words, as policies and planners receive them."""

from __future__ import annotations

from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError

SKILLS = ("lift", "put", "hand_over")
"""Skills that a goal may name: lift(object), put(object, target), hand_over(object)."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One subtask: a skill applied to an object and, for `put`, the target to put it in."""

    skill: str
    """`lift`, `put` or `hand_over`."""
    object: str
    """Name of the object, such as "red cube"."""
    target: str | None = None
    """Name of the target, such as "left bin"; only for `put`."""

    def __post_init__(self) -> None:
        """Reject an unknown skill, a missing target and a target that the skill does not take."""
        if self.skill not in SKILLS:
            raise UnknownNameError("skill", self.skill, SKILLS)
        if (self.skill == "put") != (self.target is not None):
            expected = "a target to put the object in" if self.skill == "put" else f"None: {self.skill} takes no target"
            raise InvalidValueError("target", self.target, expected)

    @property
    def text(self) -> str:
        """The goal as an instruction, such as "put the red cube in the left bin"."""
        if self.skill == "put":
            return f"put the {self.object} in the {self.target}"
        return f"{self.skill.replace('_', ' ')} the {self.object}"


@dataclass(frozen=True, slots=True)
class Scene:
    """The objects and targets in a scene, by name."""

    objects: tuple[str, ...]
    """Movable objects, such as ("red cube", "blue cube")."""
    targets: tuple[str, ...]
    """Places to put objects in, such as ("left bin", "right bin"); may be empty."""
    holding: str | None = None
    """The object in the robot's hand, one of `objects`, or None."""
