"""The age of what the operator sees."""

from __future__ import annotations

import math

import numpy as np
import pytest

from waldo.collect.headset.video import Video

S = 1_000_000_000
JPEG = b"\xff\xd8"


@pytest.fixture
def video() -> Video:
    found = Video()
    for camera in ("front", "wrist"):
        found.add(f"cameras/{camera}", JPEG, 10 * S)
    return found


def test_an_image_that_is_not_drawn_is_infinitely_old(video: Video) -> None:
    assert video.age_s(10 * S, sees_robot=False) == math.inf
    video.draw("front", 10 * S)
    assert video.ages_s(11 * S) == {"front": 1.0, "wrist": math.inf}
    assert video.age_s(11 * S, sees_robot=False) == math.inf


def test_the_oldest_camera_counts_unless_one_is_named(video: Video) -> None:
    video.draw("front", 10 * S)
    video.draw("wrist", 9 * S)
    assert video.age_s(11 * S, sees_robot=False) == 2.0
    video.checked = "front"
    assert video.age_s(11 * S, sees_robot=False) == 1.0
    video.checked = "another"
    assert video.age_s(11 * S, sees_robot=False) == math.inf


def test_it_does_not_matter_to_an_operator_who_sees_the_robot_or_without_cameras(video: Video) -> None:
    assert video.age_s(10 * S, sees_robot=True) is None
    video.needed = False
    assert video.age_s(10 * S, sees_robot=False) is None
    # A robot with cameras of which none sends: the operator is blind.
    assert Video().age_s(10 * S, sees_robot=False) == math.inf


def test_an_older_image_that_is_confirmed_late_makes_nothing_older(video: Video) -> None:
    video.draw("front", 10 * S)
    video.draw("front", 8 * S)
    assert video.ages_s(11 * S)["front"] == 1.0


def test_only_color_is_shown_and_each_image_has_a_number(video: Video) -> None:
    woken = []
    video.on_image = lambda: woken.append(True)
    video.add("depth/front", np.zeros((2, 2), np.uint16), 0)
    video.add("joints/state", JPEG, 0)
    assert woken == []
    video.add("cameras/front", JPEG, 12 * S)
    assert woken == [True]
    assert {one.camera: (one.number, one.stamp_ns) for one in video.images()} == {
        "front": (2, 12 * S),
        "wrist": (1, 10 * S),
    }
