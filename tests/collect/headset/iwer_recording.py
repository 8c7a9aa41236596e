"""Recordings of headset sessions in the format of iwer's action player."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.collect.headset.emulated_headset import EmulatedHeadset
from waldo.collect.devices.tracking import JOINT_NAMES, Side, TrackedHand

RATE_HZ = 30
"""Rate of the recorded frames [Hz]."""
RADIUS_M = 0.008
"""Radius of every joint [m]."""
INDEX: Mapping[Side, int] = {"left": 0, "right": 1}
"""Number of a hand's input source."""

HAND = {"hasGrip": True, "hasHand": True, "hasGamepad": False, "jointSequence": list(JOINT_NAMES)}
TOUCH = {"handedness": "none", "targetRayMode": "screen", "profiles": ["generic-touchscreen"], "hasGrip": False}
FINGERS = 2
"""Fingers on the screen of a phone, at most."""

START = """
const [recording, space, done] = arguments;
const device = window.device;
device.activeSession.requestReferenceSpace(space).then((origin) => {
  window.player = device.createActionPlayer(origin, recording, { playbackRate: 1e-9 });
  window.player.play();
  done(window.player.playing);
});
"""


def recording(frames: Sequence[Mapping[Side, TrackedHand]], head: np.ndarray) -> dict[str, Any]:
    """Return the recording of bare hands.

    Args:
        frames: The hands of each frame; a side that is missing is not tracked.
        head: Pose of the head, shape (4, 4) [m].
    """
    schema = [
        (index, {"handedness": side, "targetRayMode": "tracked-pointer", "profiles": ["generic-hand"], **HAND})
        for side, index in INDEX.items()
    ]
    return {"schema": schema, "frames": [_frame(k, hands, head) for k, hands in enumerate(frames)]}


def phone_recording(frames: Sequence[tuple[np.ndarray, int]]) -> dict[str, Any]:
    """Return the recording of a phone: of each frame its pose (4, 4) [m] and the number of fingers on its screen."""
    schema = [(index, {**TOUCH, "hasHand": False, "hasGamepad": False}) for index in range(FINGERS)]
    touches = [[index, *_place(np.eye(4))] for index in range(FINGERS)]
    rows = [[1000 * k / RATE_HZ, *_place(pose), *touches[:number]] for k, (pose, number) in enumerate(frames)]
    return {"schema": schema, "frames": rows}


def _frame(number: int, hands: Mapping[Side, TrackedHand], head: np.ndarray) -> list[Any]:
    entries: list[Any] = []
    for side, hand in hands.items():
        assert hand.joints is not None
        place = _place(hand.pose)
        joints = [value for joint in hand.joints.tolist() for value in (*joint, *place[3:], RADIUS_M)]
        # The joints are relative to the target ray.
        entries.append([INDEX[side], *_place(np.eye(4)), place, joints])
    return [1000 * number / RATE_HZ, *_place(head), *entries]


def _place(pose: np.ndarray) -> list[float]:
    """Return position [m] and quaternion (x, y, z, w) of a pose (4, 4)."""
    return [*pose[:3, 3].tolist(), *Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()]


class Replay:
    """A recording that the page replays frame by frame."""

    def __init__(self, headset: EmulatedHeadset, recorded: Mapping[str, Any], space: str = "local-floor") -> None:
        """Load a recording in the headset's session, in a reference space, and replay its first frame."""
        self._headset = headset
        self._number = 0
        assert headset.browser.execute_async_script(START, recorded, space)

    def next(self) -> None:
        """Replay the next frame."""
        self._number += 1
        # Between two frames, the player has the inputs of the later one.
        self._headset.run("window.player.seek(arguments[0])", 1000 * (self._number - 1e-6) / RATE_HZ)
