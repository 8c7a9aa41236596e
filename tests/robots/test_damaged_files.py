"""Files of motors, calibrations and heat states that are damaged give one line each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.damaged_files import WRONG_VALUES, check_parser, raw_contents, unusual_paths
from waldo.robots.description import load_robot
from waldo.robots.drivers import calibration
from waldo.robots.thermal import constants_file, state_file
from waldo.robots.thermal.observer import HeatObserver
from waldo.robots.thermal.two_node import TwoNodeModel

ROBOT = load_robot("so101")
NOW = 10**18

CONSTANTS = {
    "heat_scale": 1.1,
    "winding_j_per_k": 6.0,
    "winding_to_housing_k_per_w": 3.0,
    "housing_j_per_k": 50.0,
    "housing_to_ambient_k_per_w": 2.0,
    "source": "a test",
}
MOTORS = {"format": "waldo-motors", "schema_version": 1, "robot": "so101", "joints": {"gripper": CONSTANTS}}
SERVO = {"id": 1, "drive_mode": 0, "homing_offset": 3, "range_min": 100, "range_max": 3000}
STATE = {
    "format": "waldo-heat",
    "schema_version": 1,
    "stamp_ns": NOW,
    "motors": {"one": {"mean": [50.0, 40.0, 25.0, 0.0], "covariance": np.eye(4).tolist()}},
}
ALWAYS_REFUSED = {*raw_contents(b"{}"), "fifo", "directory", "missing", "endless", "() = None", "() = []"}


def observer() -> HeatObserver:
    return HeatObserver(TwoNodeModel([ROBOT.joints[0].motor.need_thermal("a test")]))


def test_files_of_motor_constants(tmp_path: Path) -> None:
    messages = check_parser(tmp_path, MOTORS, lambda path: constants_file.apply(path, ROBOT))
    assert messages.keys() >= ALWAYS_REFUSED
    accepted = {f"('joints', 'gripper', '{name}') = 0.5" for name in CONSTANTS}
    changed = {f"('joints', 'gripper', '{name}') " for name in CONSTANTS if name != "source"}
    assert not accepted & messages.keys()
    for name in changed:
        assert len([one for one in messages if one.startswith(name)]) == len(WRONG_VALUES)  # all but 0.5, and removed


def test_calibration_files(tmp_path: Path) -> None:
    messages = check_parser(tmp_path, {"a": SERVO, "b": SERVO}, lambda path: calibration.load(path, ("a", "b")))
    assert messages.keys() >= ALWAYS_REFUSED
    assert "('a', 'homing_offset') = 0.5" in messages
    assert "('b', 'drive_mode') = True" in messages


def test_heat_states(tmp_path: Path) -> None:
    def restore(path: Path) -> str | None:
        heat = observer()
        before = heat.mean.copy()
        outcome = state_file.restore(path, heat, ["one"], NOW)
        if not outcome.endswith("assuming cold motors"):
            return None
        np.testing.assert_array_equal(heat.mean, before)
        return outcome

    messages = check_parser(tmp_path, STATE, restore)
    assert messages.keys() >= ALWAYS_REFUSED
    assert "('motors', 'one', 'mean', 0) = 1e+308" in messages
    assert "('motors', 'one', 'covariance', 2, 2) = -1" in messages


def test_the_valid_files_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps(MOTORS))
    constants_file.apply(path, ROBOT)
    path.write_text(json.dumps({"a": SERVO}))
    calibration.load(path, ("a",))
    path.write_text(json.dumps(STATE))
    assert state_file.restore(path, observer(), ["one"], NOW).startswith("restored the temperatures of 1 of 1 motors")


def test_the_corpus_contains_every_kind_of_path(tmp_path: Path) -> None:
    assert {path.is_file() for name, path in unusual_paths(tmp_path).items()} == {False}
