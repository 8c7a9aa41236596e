"""Files of constants that were identified on a robot's own motors."""

import json

import numpy as np
import pytest

from waldo.errors import FileError
from waldo.robots.description import load_robot
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal import constants_file
from waldo.robots.thermal.fit import ThermalFit

ROBOT = load_robot("so101")
FIT = ThermalFit(
    constants=ThermalConstants(
        winding_j_per_k=6.0,
        housing_j_per_k=50.0,
        winding_to_housing_k_per_w=3.0,
        housing_to_ambient_k_per_w=2.0,
        basis="fitted",
        source="a test",
        std=(0.1, 0.2, 0.3, 0.4),
    ),
    heat_scale=1.25,
    ambient_c=25.0,
    std=np.array([0.5, 0.1, 0.3, 0.2, 0.4]),
    covariance=0.01 * np.eye(5),
    rms_k=0.5,
    readings=100,
)


def test_a_saved_fit_replaces_the_constants_of_its_joint(tmp_path):
    path = tmp_path / "motors.json"
    constants_file.save(path, "so101", {"elbow_flex": FIT})
    before, after = ROBOT.joints, constants_file.apply(path, ROBOT).joints
    elbow = ROBOT.joint_names.index("elbow_flex")
    assert after[elbow].motor.thermal == FIT.constants
    assert after[elbow].motor.resistance_ohm == pytest.approx(1.25 * 2.68)
    resistance = after[elbow].motor.resistance
    assert resistance is not None
    assert resistance.basis == "fitted"
    assert resistance.source.endswith("multiplied by the heat scale 1.25 of a test")
    assert after[elbow].motor.voltage == before[elbow].motor.voltage
    assert [k for k in range(len(before)) if after[k] != before[k]] == [elbow]


def test_a_file_of_the_previous_version_is_read(tmp_path):
    path = tmp_path / "motors.json"
    joint = {
        "heat_scale": 1.1,
        "winding_j_per_k": 6.0,
        "winding_to_housing_k_per_w": 3.0,
        "housing_j_per_k": 50.0,
        "housing_to_ambient_k_per_w": 2.0,
        "relative_std": {"heat_scale": 0.1},
        "unexplained_k": 0.5,
        "source": "waldo identify, 120 readings, 0.5 K unexplained",
    }
    content = {"format": "waldo-motors", "schema_version": 1, "robot": "so101", "joints": {"gripper": joint}}
    path.write_text(json.dumps(content))
    motor = constants_file.apply(path, ROBOT).joints[-1].motor
    assert motor.need_thermal("a test").winding_j_per_k == 6.0
    assert motor.need_thermal("a test").source == "waldo identify, 120 readings, 0.5 K unexplained"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not a file of motor constants"),
        ({"robot": "g1"}, "belongs to the robot 'g1', expected 'so101'"),
        ({"joints": {"tail": {}}}, "names joints that so101 does not have: tail"),
        ({"joints": {"gripper": {"heat_scale": -1}}}, "has heat_scale -1 for gripper, expected a number above 0"),
        ({"schema_version": 9}, "has schema version 9, expected 1"),
    ],
)
def test_an_unsuitable_file_is_refused(tmp_path, change, message):
    path = tmp_path / "motors.json"
    content = {"format": "waldo-motors", "schema_version": 1, "robot": "so101", "joints": {}}
    path.write_text(json.dumps(content | change))
    with pytest.raises(FileError, match=message):
        constants_file.apply(path, ROBOT)
