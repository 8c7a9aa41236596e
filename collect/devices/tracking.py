"""Tracked poses of an operator's head and hands, and the protocol of the programs that deliver them.

Poses are in the tracking frame of WebXR: x right, y up, -z forward, in meters. `waldo.collect.retargeting.frames`
converts them to a robot's frame, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from waldo.robots.diagnostics import OK
from waldo.typing import Array

type Side = Literal["left", "right"]
"""Side of a hand, as the operator sees it."""

JOINT_NAMES = (
    "wrist",
    *(f"thumb-{part}" for part in ("metacarpal", "phalanx-proximal", "phalanx-distal", "tip")),
    *(
        f"{finger}-finger-{part}"
        for finger in ("index", "middle", "ring", "pinky")
        for part in ("metacarpal", "phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip")
    ),
)
"""The joints of a hand in the order of `TrackedHand.joints` (WebXR Hand Input Module, section "Skeleton Joints")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedHand:
    """One hand of the operator: a controller in it, or the tracked hand itself."""

    side: Side
    pose: Array
    """Pose of the grip of a controller, or of the wrist, in the tracking frame; shape (4, 4) [m].

    A wrist's -z axis points to the fingers and its y axis out of the back of the hand.
    """
    joints: Array | None = None
    """Positions of the joints `JOINT_NAMES` in the tracking frame, shape (25, 3) [m]; None for a controller."""
    trigger: float = 0.0
    """How far the trigger is pulled, 0 to 1."""
    squeeze: float = 0.0
    """How far the squeeze (grip) button is pressed, 0 to 1."""
    buttons: tuple[bool, ...] = ()
    """Whether each button is pressed, in the order of WebXR's gamepad mapping "xr-standard"."""
    tracked: bool = True
    """Whether the pose is tracked, and not estimated from the past or from the arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """One sample of the operator's head and hands."""

    stamp_ns: int
    """Time of the sample on this machine's wall clock [ns since the epoch]."""
    number: int
    """Number of the sample; it increases by one with each sample of a source."""
    head: Array
    """Pose of the head in the tracking frame, shape (4, 4) [m]."""
    hands: Mapping[Side, TrackedHand] = field(default_factory=dict[Side, TrackedHand])
    """The hands that the headset reports; a missing one is not tracked."""
    video_age_s: float | None = None
    """Age of the image that the operator sees [s]; None if the operator sees the robot itself."""


class TrackingSource(Protocol):
    """Delivers the newest sample of a headset, and shows the operator what happens."""

    def open(self) -> None:
        """Start to receive samples; raises HardwareError if that is impossible."""
        ...

    def latest(self) -> Tracking | None:
        """Return the newest sample; None before the first one."""
        ...

    def notify(self, text: str, level: int = OK) -> None:
        """Show a line of text in the headset, in the color of its diagnostic level."""
        ...

    def haptics(self, side: Side, amplitude: float, duration_s: float) -> None:
        """Vibrate the controller of a side with an amplitude from 0 to 1 for a duration [s]; a bare hand ignores it."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the operator has quit."""
        ...

    def close(self) -> None:
        """Stop; may be called more than once, and without `open`."""
        ...
