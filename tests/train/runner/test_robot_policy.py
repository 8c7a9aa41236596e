"""The check that a policy fits a robot, and the observations that it is asked with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.errors import FileError, ImageError
from waldo.robots.description import Robot
from waldo.train.policies.contract import Contract
from waldo.train.runner.robot_policy import DEFAULT_REPLAN_S, ContractError, RobotPolicy, robot_policy
from waldo.train.serving.wire import WireError

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
URL = "ws://gpu:8000"

CONTRACT = {
    "fps": 20,
    "joints": ["a", "b"],
    "state": ["a", "b"],
    "unit": "rad",
    "cameras": {FRONT: [64, 48]},
}


def metadata(**changes: Any) -> dict[str, Any]:
    """Return the metadata of a server, with changes of the contract."""
    return {"policy": "pick 003000", "images": {FRONT: [64, 48]}, "replan_after": 10, "contract": CONTRACT | changes}


def jpeg(width: int, height: int, level: int = 90) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), level, np.uint8))[1].tobytes()


def differences(robot: Robot, cameras: dict[str, str] | None = None, **changes: Any) -> list[str]:
    """Return why a policy is refused; an empty list if it fits."""
    policy = robot_policy(metadata(**changes), URL)
    try:
        policy.require_robot(robot, {FRONT: "front"} if cameras is None else cameras)
    except ContractError as error:
        return error.differences
    return []


def test_the_metadata_of_a_server_describe_its_policy() -> None:
    assert robot_policy(metadata(), URL) == RobotPolicy(
        name="pick 003000",
        contract=Contract(fps=20.0, joints=("a", "b"), state=("a", "b"), unit="rad", cameras={FRONT: (64, 48)}),
        images={FRONT: (64, 48)},
        replan_s=0.5,
    )


def test_a_policy_of_the_robot_is_accepted(toy_robot: Robot) -> None:
    assert differences(toy_robot) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"joints": ["b", "a"]}, ["it commands the joints b, a, the robot has a, b"]),
        ({"state": ["b", "a"]}, ["it observes the joints b, a, the robot has a, b"]),
        (
            {"joints": ["a"], "state": ["a", "b", "c"]},
            ["it commands the joints a, the robot has a, b", "it observes the joints a, b, c, the robot has a, b"],
        ),
        (
            {"joints": ["x", "y"], "state": ["x", "y"]},
            ["it commands the joints x, y, the robot has a, b", "it observes the joints x, y, the robot has a, b"],
        ),
        (
            {"joints": [], "state": None},
            [
                "the joints that it commands are unknown, the robot has a, b",
                "the joints that it observes are unknown, the robot has a, b",
            ],
        ),
        ({"unit": "deg"}, ["its joint positions are in deg, those of the robot in rad"]),
        ({"unit": ""}, ["its joint positions are in an unknown unit, those of the robot in rad"]),
    ],
)
def test_a_policy_of_another_robot_is_refused_with_all_differences(
    toy_robot: Robot, changes: dict[str, Any], expected: list[str]
) -> None:
    assert differences(toy_robot, **changes) == expected


def test_a_refusal_has_one_line_for_each_difference(toy_robot: Robot) -> None:
    policy = robot_policy(metadata(joints=["b", "a"], unit="deg"), URL)
    with pytest.raises(ContractError) as caught:
        policy.require_robot(toy_robot, {FRONT: "front"})
    assert str(caught.value) == (
        "pick 003000 does not fit the robot, which is not moved:\n"
        "  it commands the joints b, a, the robot has a, b\n"
        "  its joint positions are in deg, those of the robot in rad\n"
        "choose the policy that was trained for this robot"
    )
    assert caught.value.exit_code == 2


def test_a_camera_that_the_robot_does_not_publish_is_a_difference(toy_robot: Robot) -> None:
    assert differences(toy_robot, {}) == ["it needs the camera front, the robot publishes no camera"]
    policy = robot_policy(metadata() | {"images": {FRONT: [64, 48], WRIST: [64, 48]}}, URL)
    with pytest.raises(ContractError) as caught:
        policy.require_robot(toy_robot, {FRONT: "overhead"})
    assert caught.value.differences == ["it needs the camera wrist, the robot publishes overhead"]


def test_a_camera_may_have_another_name(toy_robot: Robot) -> None:
    assert differences(toy_robot, {FRONT: "overhead"}) == []


def test_a_camera_of_the_training_that_the_policy_does_not_use_is_not_needed(toy_robot: Robot) -> None:
    policy = robot_policy(metadata() | {"images": {}}, URL)
    policy.require_robot(toy_robot, {})


# the contract


def test_a_server_without_a_contract_is_refused() -> None:
    for values in ({}, {"policy": "", "contract": None}, {"contract": ["a", "b"]}):
        with pytest.raises(ContractError) as caught:
            robot_policy(values, URL)
        assert str(caught.value) == (
            "ws://gpu:8000 does not fit the robot, which is not moved:\n"
            "  the server does not state the joints, units and rate of its actions\n"
            "write them into a file like waldo.json of a checkpoint and pass --contract FILE"
        )


def test_an_empty_contract_does_not_fit_any_robot(toy_robot: Robot) -> None:
    with pytest.raises(ContractError) as caught:
        robot_policy({"contract": {}}, URL).require_robot(toy_robot, {})
    assert len(caught.value.differences) == 3


def test_a_contract_file_replaces_that_of_the_server(tmp_path: Path, toy_robot: Robot) -> None:
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(CONTRACT | {"fps": 50}))
    for values in ({}, metadata(joints=["b", "a"])):
        policy = robot_policy(values, URL, contract_file=path)
        policy.require_robot(toy_robot, {FRONT: "front"})
        assert policy.contract.fps == 50.0
        assert policy.images == {FRONT: (64, 48)}
    assert robot_policy({}, URL, contract_file=path).name == URL


@pytest.mark.parametrize("text", [None, "{", "\x00", "[1, 2]", '"fps"', "3"])
def test_a_contract_file_that_cannot_be_read_is_reported(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "contract.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FileError) as caught:
        robot_policy({}, URL, contract_file=path)
    start, end = (
        f"{path}: is not a contract (",
        ('); write JSON with "fps", "joints", "state", "unit" and "cameras", as waldo.json of a checkpoint'),
    )
    assert str(caught.value).startswith(start)
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize("replan_after", [None, 0, -3, "ten", 2.5])
def test_without_a_valid_interval_the_policy_looks_at_the_default_one(replan_after: Any) -> None:
    assert robot_policy(metadata() | {"replan_after": replan_after}, URL).replan_s == DEFAULT_REPLAN_S


@pytest.mark.parametrize("images", [None, ["front"], "front"])
def test_images_that_a_server_does_not_state_are_those_of_the_contract(images: Any) -> None:
    assert robot_policy(metadata() | {"images": images}, URL).images == {FRONT: (64, 48)}


# observations


def test_an_observation_has_the_state_the_images_and_the_instruction() -> None:
    policy = robot_policy(metadata(), URL)
    observation = policy.observation(np.array([0.1, 0.2]), {FRONT: jpeg(64, 48)}, "lift the cube")
    assert list(observation) == ["observation.state", FRONT, "task", "prompt"]
    assert observation["observation.state"].dtype == np.float32
    np.testing.assert_allclose(observation["observation.state"], [0.1, 0.2], rtol=1e-6)
    assert (observation[FRONT].shape, observation[FRONT].dtype) == ((48, 64, 3), np.uint8)
    np.testing.assert_allclose(observation[FRONT], 90, atol=2)
    assert (observation["task"], observation["prompt"]) == ("lift the cube", "lift the cube")


@pytest.mark.parametrize(("width", "height"), [(640, 480), (32, 24), (64, 48)])
def test_an_image_of_the_same_aspect_ratio_is_scaled(width: int, height: int) -> None:
    policy = robot_policy(metadata(), URL)
    observation = policy.observation(np.zeros(2), {FRONT: jpeg(width, height)}, "")
    assert observation[FRONT].shape == (48, 64, 3)


def test_an_image_of_another_aspect_ratio_is_refused() -> None:
    policy = robot_policy(metadata(), URL)
    message = r"^observation\.images\.front is 128x72, expected the aspect ratio of 64x48$"
    with pytest.raises(WireError, match=message):
        policy.observation(np.zeros(2), {FRONT: jpeg(128, 72)}, "")


def test_an_image_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(ImageError):
        robot_policy(metadata(), URL).observation(np.zeros(2), {FRONT: b"no jpeg"}, "")


def test_inputs_of_a_server_of_another_kind_are_renamed() -> None:
    renamed = {"observation.state": "observation/state", FRONT: "observation/image"}
    policy = robot_policy(metadata(), URL, renamed=renamed)
    observation = policy.observation(np.zeros(2), {FRONT: jpeg(64, 48)}, "lift the cube")
    assert list(observation) == ["observation/state", "observation/image", "task", "prompt"]


def test_images_that_the_policy_does_not_use_are_left_out() -> None:
    policy = robot_policy(metadata(), URL)
    observation = policy.observation(np.zeros(2), {FRONT: jpeg(64, 48), WRIST: b"no jpeg"}, "")
    assert WRIST not in observation
