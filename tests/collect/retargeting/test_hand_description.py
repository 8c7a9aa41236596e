"""Descriptions of hands: one file per hand, for both sides, with every name checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from waldo.collect.retargeting.frames import is_rotation
from waldo.collect.retargeting.hand_description import load_hand
from waldo.errors import FileError, InvalidValueError, UnknownNameError
from waldo.robots.description import load_robot

HAND = """
joints: ["{side}_a"]
base: "{side}_palm"
palm_axis: {left: [0, 1, 0], right: [0, -1, 0]}
points: {tip: "geom {side}_tip", root: "body {side}_root"}
vectors: [{robot: [root, tip], human: [index-finger-phalanx-proximal, index-finger-tip], length_m: 0.1}]
open: [0]
closed: [1]
"""


@pytest.mark.parametrize(("name", "robot"), [("dex3_1", "g1_dex3"), ("inspire", "g1_inspire")])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_joints_of_a_shipped_hand_are_those_of_its_robot(name: str, robot: str, side: str) -> None:
    hand = load_hand(name, side)
    assert set(hand.joints) <= set(load_robot(robot).joint_names)
    assert is_rotation(hand.base_from_canonical)


def test_a_side_replaces_its_placeholder_and_chooses_among_two_values(tmp_path: Path) -> None:
    file = tmp_path / "hand.yaml"
    file.write_text(HAND)
    hand = load_hand(str(file), "right")
    assert (hand.joints, hand.base, hand.points["tip"]) == (("right_a",), "right_palm", "geom right_tip")
    np.testing.assert_allclose(hand.base_from_canonical @ [0, 0, 1], [0, -1, 0])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[root, tip]", "[roots, tip]", r"unknown point of .*'roots'; did you mean 'root'"),
        ("index-finger-tip", "index-tip", r"unknown joint of a hand in WebXR 'index-tip'"),
        ("length_m", "length", r"unknown key of a vector of .*'length'; did you mean 'length_m'"),
        ("base:", "bas:", r"unknown key of .*'bas'; did you mean 'base'"),
    ],
)
def test_an_unknown_name_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    file = tmp_path / "hand.yaml"
    file.write_text(HAND.replace(before, after))
    with pytest.raises(UnknownNameError, match=message):
        load_hand(str(file), "left")


def test_an_open_hand_has_one_position_for_each_joint(tmp_path: Path) -> None:
    file = tmp_path / "hand.yaml"
    file.write_text(HAND.replace("open: [0]", "open: [0, 1]"))
    with pytest.raises(InvalidValueError, match=r"open of .* expected 1 positions, one for each joint"):
        load_hand(str(file), "left")


def test_a_missing_hand_is_refused_with_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown hand 'dex3'; did you mean 'dex3_1'\? \(known: dex3_1"):
        load_hand("dex3", "left")
    with pytest.raises(FileError, match="no such file"):
        load_hand(str(tmp_path / "none.yaml"), "left")
