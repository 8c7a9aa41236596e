"""A source of tracked hands that tests control, in place of a headset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from human_hand import tracked_hand

from waldo.collect.devices.tracking import Side, TrackedHand, Tracking
from waldo.robots.diagnostics import OK

START_NS = 1_700_000_000_000_000_000
"""Time of the first sample [ns]."""


def controller(side: Side, *, squeeze: float = 0.0, trigger: float = 0.0, **fields: Any) -> TrackedHand:
    """Return a controller in front of the operator."""
    pose = np.eye(4)
    pose[:3, 3] = 0.2 if side == "right" else -0.2, 1.1, -0.4
    values = {"side": side, "pose": pose, "squeeze": squeeze, "trigger": trigger, "buttons": (False,) * 6} | fields
    return TrackedHand(**values)


class TestedSource:
    """A TrackingSource whose sample and clock tests set."""

    __test__ = False

    def __init__(self, *, bare: bool = False, sides: tuple[Side, ...] = ("left", "right")) -> None:
        head = np.eye(4)
        head[1, 3] = 1.6
        make = tracked_hand if bare else controller
        self.sample: Tracking | None = Tracking(
            stamp_ns=START_NS, number=0, head=head, hands={side: make(side) for side in sides}
        )
        self.now_ns = START_NS
        self.texts: list[str] = []
        self.vibrations: list[tuple[Side, float]] = []
        self.finished = False
        self.opened = self.closed = 0

    def clock_ns(self) -> int:
        return self.now_ns

    def change(self, **fields: Any) -> None:
        """Change fields of the sample."""
        assert self.sample is not None
        self.sample = replace(self.sample, **fields)

    def hand(self, side: Side, **fields: Any) -> None:
        """Change fields of a hand."""
        assert self.sample is not None
        self.change(hands={**self.sample.hands, side: replace(self.sample.hands[side], **fields)})

    def squeeze(self, value: float, *sides: Side) -> None:
        """Press or release the squeeze buttons."""
        assert self.sample is not None
        for side in sides or tuple(self.sample.hands):
            self.hand(side, squeeze=value)

    def move(self, side: Side, offset: tuple[float, float, float]) -> None:
        """Move a hand in WebXR's frame [m]."""
        assert self.sample is not None
        hand = self.sample.hands[side]
        pose = hand.pose.copy()
        pose[:3, 3] += offset
        self.hand(side, pose=pose, joints=None if hand.joints is None else hand.joints + np.array(offset))

    def open(self) -> None:
        self.opened += 1

    def latest(self) -> Tracking | None:
        return self.sample

    def notify(self, text: str, level: int = OK) -> None:
        del level
        self.texts.append(text)

    def haptics(self, side: Side, amplitude: float, duration_s: float) -> None:
        del duration_s
        self.vibrations.append((side, amplitude))

    def close(self) -> None:
        self.closed += 1
