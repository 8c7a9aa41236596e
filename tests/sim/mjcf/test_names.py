"""Names for topics."""

from __future__ import annotations

import pytest

from waldo.sim.mjcf.names import topic_name, unique_topic_names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("front", "front"),
        ("_Left_2", "_Left_2"),
        ("front-left", "front_left"),
        ("arm/wrist cam", "arm_wrist_cam"),
        ("2f85", "camera_2f85"),
        ("caméra", "cam_ra"),
        ("---", "camera"),
        ("", "camera"),
    ],
)
def test_invalid_characters_are_replaced(text: str, name: str) -> None:
    assert topic_name(text, "camera") == name


def test_unnamed_parts_are_numbered_and_valid_names_stay() -> None:
    assert unique_topic_names(["", "front", ""], "camera") == ["camera0", "front", "camera2"]
    assert unique_topic_names(["front-left", "front_left", "", "camera2"], "camera") == [
        "front_left_2",
        "front_left",
        "camera2_2",
        "camera2",
    ]
