"""States that arrive in parts: the joints of an arm and its gripper from publishers of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MERGE_NS = 100_000_000
"""Largest difference of the stamps of parts that are merged into one state [ns]."""


class JointParts[T]:
    """Merges partial states by joint name.

    A state is complete when every joint was received since the last one, in parts whose stamps differ by at most
    `MERGE_NS`; its time is that of the newest part.
    """

    def __init__(self, joints: Iterable[str]) -> None:
        """Start without parts; a state has these joints."""
        self._joints = frozenset(joints)
        self._parts: dict[str, tuple[int, T]] = {}

    def add(self, part: Mapping[str, T], stamp_ns: int) -> Mapping[str, T] | None:
        """Add a part and return the state that it completes; None if joints are still missing.

        Args:
            part: Joint -> its values; other joints than those of the state are left out.
            stamp_ns: Time of the part [ns].
        """
        self._parts |= {joint: (stamp_ns, values) for joint, values in part.items() if joint in self._joints}
        self._parts = {joint: one for joint, one in self._parts.items() if stamp_ns - one[0] <= MERGE_NS}
        if len(self._parts) < len(self._joints):
            return None
        state = {joint: values for joint, (_, values) in self._parts.items()}
        self._parts.clear()
        return state
