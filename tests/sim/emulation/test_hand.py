"""A hand that moves an emulated arm along the rows of a file, or by keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waldo.errors import FileError
from waldo.robots.description import load_robot
from waldo.sim.emulation.hand import SPEEDS_RAD_S, KeyedHand, RecordedHand

SO101 = load_robot("so101")
FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def write(folder: Path, text: str) -> Path:
    path = folder / "hand.csv"
    path.write_text(text)
    return path


def test_positions_are_interpolated_and_the_others_stay_at_home(tmp_path: Path) -> None:
    hand = RecordedHand(SO101, write(tmp_path, "time_s, gripper, shoulder_pan\n1,0.0,0.5\n\n3,1.0,-0.5\n"))
    np.testing.assert_allclose(hand(0.0)[[5, 0]], [0.0, 0.5])
    np.testing.assert_allclose(hand(2.0)[[5, 0]], [0.5, 0.0])
    np.testing.assert_allclose(hand(99.0)[[5, 0]], [1.0, -0.5])
    np.testing.assert_allclose(hand(2.0)[1:5], SO101.home[1:5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a table of joint positions; write a row of names"),
        ("time_s,gripper\n", "is not a table"),
        ("seconds,gripper\n0,1\n", "is not a table"),
        ("time_s,gripper,gripper\n0,1,1\n", "is not a table"),
        ("time_s,griper\n0,1\n", "unknown joint 'griper'; the joints are: shoulder_pan, "),
        ("time_s,gripper\n0,open\n", "contains a row that is not of numbers"),
        ("time_s,gripper\n0,1\n0,2\n", "contains times out of order"),
        ("time_s,gripper\n0,1\n1\n", "contains a row that is not of numbers"),
        ("time_s,gripper\n0,nan\n", "not finite"),
        ("time_s,gripper\n0,1,2\n", "missing"),
    ],
)
def test_a_file_that_is_not_such_a_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        RecordedHand(SO101, write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.csv: cannot be read"):
        RecordedHand(SO101, tmp_path / "none.csv")


@FILES
@given(st.text(st.sampled_from("time_s,griper0123456789.\n-x\"'\x00é "), max_size=60))
def test_any_text_is_a_table_or_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.csv"
    path.write_text(text, encoding="utf-8")
    try:
        hand = RecordedHand(SO101, path)
    except FileError:
        return
    assert np.isfinite(hand(1.0)).all()


def test_keys_move_one_joint_at_a_time() -> None:
    shown: list[str] = []
    hand = KeyedHand(SO101, shown.append)
    np.testing.assert_allclose(hand(1.0), SO101.home)
    assert hand.press("right")
    # The range ends the motion.
    assert hand(2.0)[0] == pytest.approx(SO101.home[0] + SPEEDS_RAD_S["right"])
    assert hand(99.0)[0] == SO101.upper[0]
    hand.release("right")
    assert hand.press("a")
    hand.release("m")
    assert hand(100.0)[0] == pytest.approx(SO101.upper[0] + SPEEDS_RAD_S["a"])
    hand.release("a")
    assert hand.press("up")
    assert hand.press("m")
    moved = hand(101.0)
    assert moved[-1] == pytest.approx((SO101.lower[-1] + SO101.upper[-1]) / 2)
    np.testing.assert_allclose(moved[1:-1], SO101.home[1:-1])
    assert hand.press("down")
    assert not hand.press("x")
    assert shown[-1].startswith("shoulder_pan: ")
    np.testing.assert_allclose(hand(102.0), moved)
