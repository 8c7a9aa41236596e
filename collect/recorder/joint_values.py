"""Joint values of a topic in the order of the robot's joints, by name and never by position in the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from waldo.errors import InvalidValueError, WaldoError
from waldo.robots.joint_parts import JointParts
from waldo.typing import Array


class JointNamesError(WaldoError):
    """A message whose joints are not those of the robot."""


def parse_joint_map(pairs: Sequence[str], joints: Sequence[str]) -> dict[str, str]:
    """Return published name -> joint of options such as "j1=shoulder_pan".

    Raises:
        InvalidValueError: If an option is malformed, names an unknown joint, or a joint twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        published, equals, joint = pair.partition("=")
        if not (published and equals):
            raise InvalidValueError("--joint-map", pair, "PUBLISHED=JOINT, such as j1=shoulder_pan")
        if joint not in joints:
            raise InvalidValueError("--joint-map", pair, f"one of the joints {', '.join(joints)} after the =")
        if joint in found.values():
            raise InvalidValueError("--joint-map", pair, f"{joint} only once")
        found[published] = joint
    return found


class JointValues:
    """Values of all joints from the messages of one topic.

    A message may contain only some joints, as when the arm and the gripper have publishers of their own: parts are
    merged by name (`JointParts`).
    """

    def __init__(self, robot: str, joints: Sequence[str], renames: Mapping[str, str] | None = None) -> None:
        """Start without values.

        Args:
            robot: Name of the robot, for messages.
            joints: Its joints, in order.
            renames: Published name -> joint.
        """
        self._robot, self._joints = robot, tuple(joints)
        self._renames = dict(renames or {})
        self._parts = JointParts[Mapping[str, float]](self._joints)
        self._state: Mapping[str, Mapping[str, float]] = {}
        self._published: dict[str, None] = {}

    def names(self, published: Sequence[str], values: int) -> list[str]:
        """Return the joints of a message; joints without names are "0", "1", and so on, unless they are renamed.

        Raises:
            JointNamesError: If names and values differ in number, or none of the names is a joint of the robot.
        """
        if published and len(published) != values:
            raise JointNamesError(f"has {len(published)} joint names but {values} positions")
        shown = list(published) or [str(index) for index in range(values)]
        names = [self._renames.get(name, name) for name in shown]
        if len(set(names)) != len(names):
            raise JointNamesError(f"names a joint twice: {', '.join(names)}")
        if names and not set(names) & set(self._joints):
            raise JointNamesError(self._mismatch(shown, named=bool(published)))
        return names

    def add(self, published: Sequence[str], fields: Mapping[str, Sequence[float]], stamp_ns: int) -> bool:
        """Add a message with its fields; return whether the row is complete.

        A field may be empty. The first field decides which joints have a value.

        Raises:
            JointNamesError: If the message does not fit the robot.
        """
        names = self.names(published, len(next(iter(fields.values()))))
        for name in names:
            self._published[name] = None
        part = {
            name: {
                field: float(values[index]) if len(values) == len(names) else np.nan for field, values in fields.items()
            }
            for index, name in enumerate(names)
        }
        state = self._parts.add(part, stamp_ns)
        self._state = state or {}
        return state is not None

    def take(self) -> dict[str, Array]:
        """Return field -> values of the row that the last message completed, shape (joints,)."""
        fields = next(iter(self._state.values()))
        return {field: np.array([self._state[name][field] for name in self._joints]) for field in fields}

    @property
    def incomplete(self) -> str:
        """Why no row is complete; empty if every joint has been received."""
        return self._mismatch(list(self._published)) if set(self._joints) - set(self._published) else ""

    def _mismatch(self, found: Sequence[str], *, named: bool = True) -> str:
        """Return both lists of joints and what to do."""
        missing = [joint for joint in self._joints if joint not in found]
        unknown = [name for name in found if name not in self._joints]
        has = f"has the joints {', '.join(found)}" if named else f"has {len(found)} joints without names"
        example = f"{unknown[0]}={missing[0]}" if unknown and missing else f"NAME={missing[0]}"
        return (
            f"{has}, but {self._robot} has {', '.join(self._joints)} (missing: {', '.join(missing)}); "
            f"pass --joint-map {example} for each joint that has another name"
        )
