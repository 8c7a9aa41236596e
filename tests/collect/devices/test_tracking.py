"""The seam between headsets and devices: the joints of a hand are those of the WebXR specification."""

from __future__ import annotations

from waldo.collect.devices.tracking import JOINT_NAMES


def test_the_joints_are_in_the_order_of_webxr() -> None:
    assert len(JOINT_NAMES) == 25
    assert [JOINT_NAMES.index(name) for name in ("wrist", "thumb-tip", "index-finger-tip", "pinky-finger-tip")] == [
        0,
        4,
        9,
        24,
    ]
    assert JOINT_NAMES[11] == "middle-finger-phalanx-proximal"
