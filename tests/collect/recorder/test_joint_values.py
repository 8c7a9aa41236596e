"""Joint states of other robots: other names, no names, and parts from several publishers."""

from __future__ import annotations

import numpy as np
import pytest

from waldo.collect.recorder.joint_values import JointNamesError, JointValues, parse_joint_map
from waldo.errors import InvalidValueError
from waldo.robots.joint_parts import MERGE_NS

JOINTS = ("a", "b", "grip")


def values(**renames: str) -> JointValues:
    return JointValues("toy", JOINTS, renames)


def test_joints_are_ordered_by_name_and_further_ones_are_ignored() -> None:
    joints = values()
    assert joints.add(["grip", "wheel", "b", "a"], {"position": [3, 9, 2, 1], "effort": []}, 0)
    row = joints.take()
    assert row["position"].tolist() == [1, 2, 3]
    assert np.isnan(row["effort"]).all()


def test_other_names_are_refused_with_both_lists_and_can_be_renamed() -> None:
    with pytest.raises(JointNamesError) as caught:
        values().add(["j1", "j2", "j3"], {"position": [1, 2, 3]}, 0)
    assert str(caught.value) == (
        "has the joints j1, j2, j3, but toy has a, b, grip (missing: a, b, grip); "
        "pass --joint-map j1=a for each joint that has another name"
    )
    joints = values(j1="a", j2="b", j3="grip")
    assert joints.add(["j3", "j2", "j1"], {"position": [3, 2, 1]}, 0)
    assert joints.take()["position"].tolist() == [1, 2, 3]


def test_joints_without_names_are_refused_and_can_be_numbered() -> None:
    with pytest.raises(JointNamesError, match=r"^has 3 joints without names, but toy has a, b, grip .*--joint-map 0=a"):
        values().add([], {"position": [1, 2, 3]}, 0)
    joints = JointValues("toy", JOINTS, {"0": "a", "1": "b", "2": "grip"})
    assert joints.add([], {"position": [1, 2, 3]}, 0)
    assert joints.take()["position"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("names", "position", "message"),
    [(["a", "b"], [1], "has 2 joint names but 1 positions"), (["a", "a"], [1, 2], "names a joint twice: a, a")],
)
def test_malformed_states_are_refused(names: list[str], position: list[float], message: str) -> None:
    with pytest.raises(JointNamesError, match=message):
        values().add(names, {"position": position}, 0)


def test_parts_of_one_state_are_merged_by_name() -> None:
    joints = values()
    assert not joints.add(["a", "b"], {"position": [1, 2]}, 1000)
    assert joints.incomplete.startswith("has the joints a, b, but toy has a, b, grip (missing: grip)")
    assert joints.add(["grip"], {"position": [3]}, 1000 + MERGE_NS)
    assert joints.take()["position"].tolist() == [1, 2, 3]
    assert joints.incomplete == ""
    # The next row needs a new message of each part.
    assert not joints.add(["a", "b"], {"position": [4, 5]}, 2000 + MERGE_NS)


def test_a_part_that_is_too_old_is_not_merged() -> None:
    joints = values()
    joints.add(["a", "b"], {"position": [1, 2]}, 0)
    assert not joints.add(["grip"], {"position": [3]}, MERGE_NS + 1)
    assert joints.add(["a", "b"], {"position": [4, 5]}, MERGE_NS + 2)
    assert joints.take()["position"].tolist() == [4, 5, 3]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (("j1",), "expected PUBLISHED=JOINT"),
        (("j1=x",), "expected one of the joints a, b, grip after the ="),
        (("j1=a", "j2=a"), "expected a only once"),
    ],
)
def test_invalid_maps_are_refused(pairs: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        parse_joint_map(pairs, JOINTS)
    assert parse_joint_map(("j1=a", "j2=b"), JOINTS) == {"j1": "a", "j2": "b"}
