"""What a policy was trained for: written into its checkpoint, and compared with the robot that it is to command."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from waldo.train.policies.contract import DEFAULT_FPS, Contract, contract_of, read_contract, write_contract

VECTOR = {"dtype": "float32", "shape": (2,), "names": ["pan.pos", "lift.pos"]}


def metadata(**features: object) -> SimpleNamespace:
    """Return what LeRobot's metadata contains."""
    front = {"dtype": "video", "shape": (96, 128, 3), "names": ["height", "width", "channels"]}
    known = {"observation.state": VECTOR, "action": VECTOR, "observation.images.front": front} | features
    return SimpleNamespace(
        features=known,
        camera_keys=[key for key, one in known.items() if one["dtype"] == "video"],
        fps=20,
        tasks=pd.DataFrame({"task_index": [0]}, index=["lift it"]),
        repo_id="local/pick",
        root=Path("/nowhere"),
        total_episodes=3,
        total_frames=120,
    )


def test_a_contract_survives_its_file(tmp_path: Path) -> None:
    first = {"dtype": "video", "shape": (3, 48, 64), "names": ["channels", "height", "width"]}
    contract = contract_of(metadata(**{"observation.images.wrist": first}))
    assert contract == Contract(
        fps=20.0,
        joints=("pan", "lift"),
        state=("pan", "lift"),
        cameras={"observation.images.front": (128, 96), "observation.images.wrist": (64, 48)},
        instructions=("lift it",),
        dataset="pick",
        episodes=3,
        rows=120,
    )
    write_contract(tmp_path, contract)
    assert read_contract(tmp_path) == contract


@pytest.mark.parametrize(
    ("names", "joints"),
    [(None, ()), ({"motors": ["pan", "lift"]}, ("pan", "lift")), (["a", "b"], ("a", "b")), ([], ())],
)
def test_joints_are_the_names_of_the_action(names: object, joints: tuple[str, ...]) -> None:
    assert contract_of(metadata(action=VECTOR | {"names": names})).joints == joints


def test_joints_in_another_order_are_a_difference() -> None:
    contract = Contract(joints=("pan", "lift"), state=("lift", "pan"))
    assert contract.joint_differences(("pan", "lift")) == ["it observes the joints lift, pan, the robot has pan, lift"]
    assert contract.joint_differences(("pan", "lift", "grip")) == [
        "it commands the joints pan, lift, the robot has pan, lift, grip",
        "it observes the joints lift, pan, the robot has pan, lift, grip",
    ]


def test_unknown_and_unrelated_names_are_not_compared() -> None:
    assert Contract().joint_differences(("pan",)) == []
    assert Contract(joints=("main_pan",), state=("motor_1",)).joint_differences(("pan",)) == []


def test_the_rate_is_that_of_the_file_or_of_the_dataset(tmp_path: Path) -> None:
    assert read_contract(tmp_path) == Contract(fps=DEFAULT_FPS)
    (tmp_path / "data" / "meta").mkdir(parents=True)
    (tmp_path / "data" / "meta" / "info.json").write_text(json.dumps({"fps": 10}))
    (tmp_path / "train_config.json").write_text(json.dumps({"dataset": {"root": str(tmp_path / "data")}}))
    assert read_contract(tmp_path).fps == 10.0
    (tmp_path / "waldo.json").write_text('{"fps": 20}')  # as waldo 0.1 wrote it
    assert read_contract(tmp_path) == Contract(fps=20.0)


def test_values_of_another_kind_are_left_out(tmp_path: Path) -> None:
    values = {"fps": -1, "joints": ["a", 3], "cameras": {"a": [4], "b": [4, 3], "c": [True, 2]}, "rows": "many"}
    (tmp_path / "waldo.json").write_text(json.dumps(values))
    assert read_contract(tmp_path) == Contract(cameras={"b": (4, 3)})


def test_the_unit_is_that_of_the_export_or_of_the_dataset(tmp_path: Path) -> None:
    found = metadata()
    assert contract_of(found).unit == ""
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "waldo.json").write_text('{"units": {"action": "rad"}}')
    found.root = tmp_path
    assert contract_of(found).unit == "rad"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"unit": "deg"}, ["its joint positions are in deg, those of the robot in rad"]),
        ({"unit": ""}, ["its joint positions are in an unknown unit, those of the robot in rad"]),
        ({"joints": ("lift", "pan")}, ["it commands the joints lift, pan, the robot has pan, lift"]),
        ({"joints": ("x", "y")}, ["it commands the joints x, y, the robot has pan, lift"]),
        ({"joints": ()}, ["the joints that it commands are unknown, the robot has pan, lift"]),
        ({"state": ()}, ["the joints that it observes are unknown, the robot has pan, lift"]),
    ],
)
def test_a_robot_must_have_the_joints_and_the_unit(changes: dict[str, Any], expected: list[str]) -> None:
    fitting = {"joints": ("pan", "lift"), "state": ("pan", "lift"), "unit": "rad"}
    contract = Contract(**(fitting | changes))
    assert contract.robot_differences(("pan", "lift")) == expected
