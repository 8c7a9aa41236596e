"""The observation of a request, under the names of LeRobot and of openpi's examples."""

from typing import Any

import numpy as np
import pytest

from waldo.train.policies.rtc import DELAY, PREFIX
from waldo.train.serving.inputs import PolicyInputs, policy_inputs, resize
from waldo.train.serving.wire import WireError

STATE, FRONT, WRIST = "observation.state", "observation.images.front", "observation.images.wrist"

ARM = policy_inputs({STATE: (3,), FRONT: (3, 6, 8), WRIST: (3, 6, 8)})
"""A policy with two cameras of 8x6."""

ONE = policy_inputs({STATE: (3,), FRONT: (3, 6, 8)})
"""A policy with one camera of 8x6."""

POSE = np.array([0.5, -1.0, 2.0], np.float32)
IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
OTHER = IMAGE[::-1].copy()


def refusal(inputs: PolicyInputs, message: dict[str, Any]) -> str:
    with pytest.raises(WireError) as caught:
        inputs.read(message)
    return str(caught.value)


def state_of(value: Any) -> np.ndarray:
    return policy_inputs({STATE: (3,)}).read({"state": value})[STATE]


def image_of(value: Any) -> np.ndarray:
    return ONE.read({"state": POSE, "image": value})[FRONT]


def test_the_inputs_are_the_features_of_the_policy() -> None:
    assert dict(ARM.vectors) == {STATE: 3}
    assert dict(ARM.images) == {FRONT: (8, 6), WRIST: (8, 6)}
    assert ARM.keys == (STATE, FRONT, WRIST)


@pytest.mark.parametrize(
    "message",
    [
        {STATE: POSE, FRONT: IMAGE, WRIST: OTHER},
        {"observation/state": POSE, "observation/images/front": IMAGE, "observation/images/wrist": OTHER},
        {"observation/state": POSE, "observation/front_image": IMAGE, "observation/wrist_image": OTHER},
        {"observation/state": POSE, "observation/image_front": IMAGE, "observation/image/wrist": OTHER},
        {"state": POSE, "images": {"front": IMAGE, "wrist": OTHER}},
        {"state": POSE, "images.front": IMAGE, "images/wrist": OTHER},
        {"observation": {"state": POSE, "images": {"front": IMAGE, "wrist": OTHER}}},
        {"observation": {"state": POSE, "front_image": IMAGE, "wrist_image": OTHER}},
        {"state": POSE, "front_image": IMAGE, "wrist_image": OTHER, "unused": 3},
    ],
)
def test_names_of_lerobot_and_of_openpi_are_read(message: dict[str, Any]) -> None:
    found = ARM.read(message)
    assert set(found) == {STATE, FRONT, WRIST, "task"}
    np.testing.assert_array_equal(found[STATE], POSE)
    np.testing.assert_array_equal(found[FRONT], IMAGE)
    np.testing.assert_array_equal(found[WRIST], OTHER)


@pytest.mark.parametrize("key", ["image", "observation/image", "observation.image"])
def test_image_is_the_only_camera_but_none_of_several(key: str) -> None:
    np.testing.assert_array_equal(ONE.read({STATE: POSE, key: IMAGE})[FRONT], IMAGE)
    expected = f"an observation lacks {FRONT}, {WRIST}; it contains {key}, {STATE}"
    assert refusal(ARM, {STATE: POSE, key: IMAGE}) == expected.replace(
        f"{key}, {STATE}", ", ".join(sorted((key, STATE)))
    )


def test_an_alias_is_a_name_of_an_input() -> None:
    inputs = policy_inputs({STATE: (3,), FRONT: (3, 6, 8)}, {"observation.exterior_image_1_left": FRONT})
    found = inputs.read({"observation/state": POSE, "observation/exterior_image_1_left": IMAGE})
    np.testing.assert_array_equal(found[FRONT], IMAGE)


@pytest.mark.parametrize("key", ["task", "prompt", "instruction"])
def test_the_instruction_has_three_names(key: str) -> None:
    assert ONE.read({STATE: POSE, FRONT: IMAGE, key: "lift it"})["task"] == "lift it"


def test_the_instruction_may_be_missing() -> None:
    assert ONE.read({STATE: POSE, FRONT: IMAGE})["task"] == ""


def test_an_instruction_has_a_limited_length() -> None:
    assert ONE.read({STATE: POSE, FRONT: IMAGE, "task": "x" * 2000})["task"] == "x" * 2000
    expected = f"the instruction is '{'x' * 80}', expected a text of at most 2000 characters"
    assert refusal(ONE, {STATE: POSE, FRONT: IMAGE, "prompt": "x" * 2001}) == expected


@pytest.mark.parametrize("value", [3, None, b"lift", ["lift"], {"text": "lift"}, np.ones(2)])
def test_an_instruction_is_a_text(value: object) -> None:
    expected = f"the instruction is {str(value)!r}, expected a text of at most 2000 characters"
    assert refusal(ONE, {STATE: POSE, FRONT: IMAGE, "prompt": value}) == expected


@pytest.mark.parametrize(
    "value", [POSE, POSE.astype(np.float64), POSE.astype(">f4"), POSE.tolist(), POSE[None], tuple(POSE.tolist())]
)
def test_a_vector_is_float32_whatever_its_numbers_are(value: object) -> None:
    found = state_of(value)
    assert (found.dtype, found.shape) == (np.float32, (3,))
    np.testing.assert_array_equal(found, POSE)


def test_integers_are_a_vector() -> None:
    np.testing.assert_array_equal(state_of(np.array([1, 2, 3], np.int16)), [1, 2, 3])


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (POSE[:2], "(2,)"),
        (np.zeros((3, 1)), "(3, 1)"),
        (np.zeros((2, 3)), "(2, 3)"),
        (np.zeros(0), "(0,)"),
        (1.5, "()"),
        ([[[1, 2, 3]]], "(1, 1, 3)"),
    ],
)
def test_a_vector_of_another_shape_is_refused(value: object, shape: str) -> None:
    with pytest.raises(WireError) as caught:
        state_of(value)
    assert str(caught.value) == f"{STATE} has the shape {shape}, expected (3,)"


@pytest.mark.parametrize("value", ["joints", [1, [2], 3], ["a", "b", "c"], b"abc"])
def test_a_vector_is_numbers(value: object) -> None:
    with pytest.raises(WireError) as caught:
        state_of(value)
    assert str(caught.value) == f"{STATE} is {type(value).__name__}, expected 3 numbers"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e39, None])
def test_a_vector_is_finite_in_float32(value: float | None) -> None:
    with pytest.raises(WireError) as caught:
        state_of([0.0, value, 0.0])
    assert str(caught.value) == f"{STATE} contains a value that is not finite"
    if value is not None:
        with pytest.raises(WireError):
            state_of(np.array([0.0, value, 0.0]))


def test_channels_may_be_first_and_an_axis_of_one_image_may_lead() -> None:
    for value in (IMAGE, IMAGE.transpose(2, 0, 1), IMAGE[None], IMAGE.transpose(2, 0, 1)[None]):
        found = image_of(value)
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, IMAGE)


@pytest.mark.parametrize(
    ("shape", "scale"), [((12, 16, 3), 2), ((3, 12, 16), 2), ((3, 4, 3), 0.5), ((600, 800, 3), 100)]
)
def test_an_image_of_the_same_aspect_ratio_is_scaled(shape: tuple[int, ...], scale: float) -> None:
    found = image_of(np.full(shape, 77, np.uint8))
    assert (found.shape, found.dtype) == ((6, 8, 3), np.uint8)
    assert (found == 77).all()


def test_each_pixel_of_a_smaller_image_is_the_mean_of_its_area() -> None:
    large = IMAGE.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(image_of(large), IMAGE)


@pytest.mark.parametrize(("width", "height"), [(6, 6), (6, 8), (8, 5), (1000, 1), (1, 1000), (80, 62)])
def test_another_aspect_ratio_is_another_field_of_view(width: int, height: int) -> None:
    with pytest.raises(WireError) as caught:
        image_of(np.zeros((height, width, 3), np.uint8))
    assert str(caught.value) == f"{FRONT} is {width}x{height}, expected the aspect ratio of 8x6"


def test_an_aspect_ratio_may_differ_by_rounding() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    assert resize(FRONT, image, (86, 64)).shape == (64, 86, 3)
    with pytest.raises(WireError):
        resize(FRONT, image, (88, 64))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (IMAGE.astype(np.float32) / 255, "of type float32"),
        (IMAGE.astype(np.int8), "of type int8"),
        (IMAGE.tolist(), "a list"),
        (IMAGE.tobytes(), "a bytes"),
        (None, "a NoneType"),
    ],
)
def test_an_image_is_an_array_of_uint8(value: object, found: str) -> None:
    with pytest.raises(WireError) as caught:
        image_of(value)
    assert str(caught.value) == f"{FRONT} is {found}, expected an array of uint8, 0 to 255"


@pytest.mark.parametrize(
    "shape", [(6, 8), (6, 8, 1), (6, 8, 4), (2, 6, 8, 3), (0, 8, 3), (6, 0, 3), (0, 6, 8, 3), (1, 1, 6, 8, 3), ()]
)
def test_an_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WireError) as caught:
        image_of(np.zeros(shape, np.uint8))
    assert str(caught.value) == f"{FRONT} has the shape {shape}, expected (height, width, 3) or (3, height, width)"


@pytest.mark.parametrize(
    ("message", "missing", "given"),
    [
        ({}, f"{STATE}, {FRONT}", "nothing"),
        ({"task": "lift"}, f"{STATE}, {FRONT}", "task"),
        ({"observation/images/front": IMAGE}, STATE, "observation/images/front"),
        ({"state": POSE, "images": {"top": IMAGE}}, FRONT, "images, state"),
    ],
)
def test_missing_inputs_are_named(message: dict[str, Any], missing: str, given: str) -> None:
    assert refusal(ONE, message) == f"an observation lacks {missing}; it contains {given}"


def test_maps_in_maps_are_read_to_a_limited_depth() -> None:
    message: Any = POSE
    for _ in range(5000):
        message = {"a": message}
    assert refusal(ONE, message) == f"an observation lacks {STATE}, {FRONT}; it contains a"


# real-time chunking

CONTINUES = policy_inputs({STATE: (3,)}, prefix_joints=2)
LEFT = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_the_actions_to_continue_are_read() -> None:
    found = CONTINUES.read({"state": POSE, PREFIX: LEFT.astype(np.float64), DELAY: 3})
    assert found[PREFIX].dtype == np.float32
    np.testing.assert_array_equal(found[PREFIX], LEFT)
    assert found[DELAY] == 3
    assert CONTINUES.read({"state": POSE, PREFIX: LEFT, DELAY: 99})[DELAY] == len(LEFT)
    assert PREFIX not in CONTINUES.read({"state": POSE})


def test_policies_without_real_time_chunking_ignore_them() -> None:
    assert set(policy_inputs({STATE: (3,)}).read({"state": POSE, PREFIX: "?", DELAY: "?"})) == {STATE, "task"}


@pytest.mark.parametrize(
    ("prefix", "delay", "expected"),
    [
        (LEFT[:, :1], 1, "action_prefix has the shape (4, 1), expected (actions, 2)"),
        (LEFT[:0], 0, "action_prefix has the shape (0, 2), expected (actions, 2)"),
        (LEFT[0], 1, "action_prefix has the shape (2,), expected (actions, 2)"),
        (LEFT.tolist(), 1, "action_prefix has the type list, expected (actions, 2)"),
        (LEFT * np.nan, 1, "action_prefix contains a value that is not finite"),
        (LEFT, None, "inference_delay is None, expected a number of actions from 0"),
        (LEFT, True, "inference_delay is True, expected a number of actions from 0"),
        (LEFT, 1.5, "inference_delay is 1.5, expected a number of actions from 0"),
        (LEFT, -1, "inference_delay is -1, expected a number of actions from 0"),
    ],
)
def test_actions_that_cannot_be_continued_are_refused(prefix: Any, delay: Any, expected: str) -> None:
    assert refusal(CONTINUES, {"state": POSE, PREFIX: prefix, DELAY: delay}) == expected
