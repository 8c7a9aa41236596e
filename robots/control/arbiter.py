"""Who commands a robot: a person's commands take precedence over a policy's.

Each command names its source in the header's `frame_id`: "policy" or "policy: reason"; any other text is a person's
device. The robot follows a policy only while no person is engaged. A person hands back by releasing the device; if the
device falls silent instead, the robot holds and refuses the policy until the person returns or enables the robot.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

POLICY_PREFIX = "policy"
"""Start of the `frame_id` of a policy's commands."""


class Source(IntEnum):
    """Who controls the robot in a cycle; the values of the stream `control`."""

    HOLD = 0
    """The robot stands still."""
    PERSON = 1
    """A person, through a teleoperation device."""
    POLICY = 2
    """A policy."""


LABELS = {Source.HOLD: "hold", Source.PERSON: "person", Source.POLICY: POLICY_PREFIX}
"""Source -> text in the `frame_id` of the applied commands."""

SOURCE_OF_LABEL = {label: source for source, label in LABELS.items()}
"""Text in the `frame_id` of the applied commands -> source."""


def policy_frame(reason: str = "") -> str:
    """Return the `frame_id` of a policy's command; `reason` is that of an empty command."""
    return f"{POLICY_PREFIX}: {reason}" if reason else POLICY_PREFIX


class Arbiter:
    """Decides which commands pass; commands without joints release control."""

    def __init__(self) -> None:
        self.person_engaged = False
        """Whether a person commands the robot, and has not released it."""
        self.source = Source.HOLD
        """Source of the last command that passed."""

    def admit(self, frame_id: str, names: Sequence[str]) -> str | None:
        """Return why a command without joints was sent, empty if it passes otherwise; None if it must be ignored.

        Args:
            frame_id: The source of the command.
            names: The commanded joints.
        """
        from_policy = frame_id == POLICY_PREFIX or frame_id.startswith(f"{POLICY_PREFIX}:")
        if from_policy:
            if self.person_engaged:
                return None
            self.source = Source.POLICY
            return "" if names or frame_id == POLICY_PREFIX else frame_id
        if not names and not self.person_engaged and self.source is Source.POLICY:
            return None  # A device that is not in use does not interrupt the policy.
        self.person_engaged = bool(names)
        self.source = Source.PERSON
        return ""

    def release(self) -> None:
        """Forget who commanded, after the robot was stopped, enabled or reset."""
        self.person_engaged = False
        self.source = Source.HOLD
