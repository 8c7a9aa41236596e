"""Messages become rows and frames, with the stamps of header and middleware."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from tests.h264_camera import encode, gray
from waldo.collect.recorder.message_adapter import MessageAdapter
from waldo.collect.recorder.topics import Topic
from waldo.datasets import schema
from waldo.errors import ImageError
from waldo.robots.description import Robot

INFO = {"received_timestamp": 900, "source_timestamp": 800, "publication_sequence_number": 7}
PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


class RowList:
    """A recorder that keeps what it is given."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.rows: list[tuple[Any, ...]] = []
        self.refusals: list[tuple[str, str]] = []

    def refuse(self, stream: str, reason: str) -> None:
        self.refusals.append((stream, reason))

    def row(self, stream: str, *, values: dict[str, Any], **stamps: int) -> None:
        self.rows.append((stream, values, stamps))

    def named_values(self, stream: str, names: list[str], values: np.ndarray, **stamps: int) -> None:
        self.rows.append((names, values, stamps))

    def frame(self, stream: str, image: Any, **stamps: int) -> None:
        self.rows.append((stream, image, stamps))


@pytest.fixture
def recorder(toy_robot: Robot) -> RowList:
    return RowList(toy_robot)


def header(ns: int, frame_id: str = "") -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=ns // 10**9, nanosec=ns % 10**9), frame_id=frame_id)


def joints(ns: int = 0, frame_id: str = "", **fields: Any) -> Any:
    empty = {"position": [], "velocity": [], "effort": []}
    return SimpleNamespace(header=header(ns, frame_id), **{**empty, **fields})


def state_topic(stream: str = schema.STATE) -> Topic:
    return Topic(stream, "/toy/topic", schema.JOINT_STATE_TYPE)


def test_joints_are_ordered_by_name_and_missing_values_are_nan(recorder: RowList) -> None:
    message = joints(name=["b", "x", "a"], position=[2.0, 9.0, 1.0], velocity=[0.2, 0.9, 0.1])
    MessageAdapter(recorder).add(state_topic(), message, INFO)
    ((stream, values, _),) = recorder.rows
    assert stream == "joints/state"
    np.testing.assert_array_equal(values["position"], [1.0, 2.0])
    np.testing.assert_array_equal(values["velocity"], [0.1, 0.2])
    np.testing.assert_array_equal(values["effort"], [np.nan, np.nan])


@pytest.mark.parametrize("stream", [schema.COMMAND, schema.APPLIED])
def test_a_command_has_positions_only_and_an_empty_one_is_nan(recorder: RowList, stream: str) -> None:
    MessageAdapter(recorder).add(state_topic(stream), joints(name=[], position=[]), INFO)
    ((_, values, _),) = recorder.rows
    assert list(values) == ["position"]
    assert np.isnan(values["position"]).tolist() == [True, True]


@pytest.mark.parametrize(("frame_id", "value"), [("hold", 0.0), ("person", 1.0), ("policy", 2.0)])
def test_an_applied_command_states_who_controls_the_robot(recorder: RowList, frame_id: str, value: float) -> None:
    message = joints(5, frame_id, name=["a", "b"], position=[0, 0])
    MessageAdapter(recorder).add(state_topic(schema.APPLIED), message, INFO)
    (_, _, sent), (stream, values, stamps) = recorder.rows
    assert stream == "control"
    assert values["value"].tolist() == [value]
    assert stamps == sent


def test_the_source_of_another_stream_is_not_recorded(recorder: RowList) -> None:
    message = joints(5, "policy", name=["a", "b"], position=[0, 0])
    MessageAdapter(recorder).add(state_topic(schema.COMMAND), message, INFO)
    assert [stream for stream, _, _ in recorder.rows] == ["joints/command"]


def test_in_real_time_the_stamps_are_those_of_the_message_and_the_middleware(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    adapter.clock_ns = 5000
    adapter.add(state_topic(), joints(3_000_000_700, name=["a", "b"], position=[0, 0]), INFO)
    adapter.add(state_topic(), joints(0, name=["a", "b"], position=[0, 0]), INFO | {"publication_sequence_number": 8})
    first, second = (stamps for _, _, stamps in recorder.rows)
    assert first == {"header_ns": 3_000_000_700, "receipt_ns": 900, "publish_ns": 800, "sequence": 7}
    # A message without a stamp is stamped when it is received.
    assert second["header_ns"] == 900


@pytest.mark.parametrize("clock_ns", [500, 1000])
def test_in_lockstep_the_receipt_is_the_stamp_whenever_the_clock_arrives(recorder: RowList, clock_ns: int) -> None:
    adapter = MessageAdapter(recorder, lockstep=True)
    adapter.clock_ns = clock_ns
    adapter.add(state_topic(), joints(700, name=["a", "b"], position=[0, 0]), INFO)
    ((_, _, stamps),) = recorder.rows
    assert stamps == {"header_ns": 700, "receipt_ns": 700, "publish_ns": -1, "sequence": 7}


def test_the_simulated_time_does_not_depend_on_the_order_of_the_clock_and_the_messages(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder, lockstep=True)
    adapter.clock_ns = 500
    adapter.add(state_topic(), joints(700, name=["a", "b"], position=[0, 0]), INFO)
    assert adapter.simulated_ns == 700
    adapter.clock_ns = 700
    assert adapter.simulated_ns == 700
    adapter.clock_ns = 900
    assert adapter.simulated_ns == 900


def test_streams_can_be_stamped_when_they_are_received(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder, receipt_stamps=["joints/state"])
    adapter.add(state_topic(), joints(3_000_000_700, name=["a", "b"], position=[0, 0]), INFO)
    adapter.add(state_topic(schema.COMMAND), joints(3_000_000_700, name=["a", "b"], position=[0, 0]), INFO)
    assert [stamps["header_ns"] for _, _, stamps in recorder.rows] == [900, 3_000_000_700]


def test_the_numbers_of_a_restarted_publisher_continue(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    for number in (7, 8, 1, 2):
        adapter.add(
            state_topic(), joints(name=["a", "b"], position=[0, 0]), INFO | {"publication_sequence_number": number}
        )
    assert [stamps["sequence"] for _, _, stamps in recorder.rows] == [7, 8, 9, 10]


def numbers(recorder: RowList, commands: list[tuple[list[str], int]], publishers: int = 1) -> list[int]:
    """Return the stored numbers of commands, each with the joints that it names and its own number."""
    adapter = MessageAdapter(recorder, count_publishers=lambda _: publishers)
    for names, number in commands:
        message = joints(name=names, position=[0.0] * len(names))
        adapter.add(state_topic(schema.COMMAND), message, INFO | {"publication_sequence_number": number})
    return [stamps["sequence"] for _, _, stamps in recorder.rows]


BOTH, LEFT, RIGHT = ["a", "b"], ["a"], ["b"]


@pytest.mark.parametrize(
    "names",
    [
        [BOTH, BOTH, [], BOTH, BOTH, [], [], BOTH],
        [[], [], BOTH, BOTH, [], BOTH],
        [[], [], []],
    ],
)
def test_a_command_without_joints_is_of_the_publisher_that_releases(recorder: RowList, names: list[list[str]]) -> None:
    commands = [(one, 7 + index) for index, one in enumerate(names)]
    assert numbers(recorder, commands) == [number for _, number in commands]


def test_a_loss_before_or_after_a_release_is_counted(recorder: RowList) -> None:
    assert numbers(recorder, [(BOTH, 7), ([], 9), (BOTH, 10), (BOTH, 12)]) == [7, 9, 10, 12]


def test_a_release_of_one_of_two_publishers_is_no_loss(recorder: RowList) -> None:
    commands = [(LEFT, 7), (RIGHT, 40), (LEFT, 8), (RIGHT, 41), ([], 42), (LEFT, 9), (RIGHT, 43), ([], 10), (LEFT, 11)]
    stored = numbers(recorder, commands, publishers=2)
    assert stored == list(range(7, 7 + len(commands)))


def test_a_message_without_a_number_is_stored_without_one_and_is_no_gap(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    for number in (7, 0, -1, 8):
        adapter.add(
            state_topic(), joints(name=["a", "b"], position=[0, 0]), INFO | {"publication_sequence_number": number}
        )
    assert [stamps["sequence"] for _, _, stamps in recorder.rows] == [7, 0, -1, 8]


def test_a_state_that_stays_incomplete_is_refused(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    for k in range(30):
        adapter.add(state_topic(), joints(10**9 * (1 + k), name=["a"], position=[0]), INFO)
    assert recorder.rows == []
    stream, reason = recorder.refusals[-1]
    assert stream == "joints/state"
    assert reason.startswith("/toy/topic ")


def test_ground_truth_keeps_its_names(recorder: RowList) -> None:
    message = joints(name=["cube.x"], position=[0.5])
    MessageAdapter(recorder).add(state_topic(schema.ENVIRONMENT), message, INFO)
    ((names, values, _),) = recorder.rows
    assert (names, values.tolist(), values.dtype) == (["cube.x"], [0.5], np.float64)


def test_motors_are_read_by_key_for_every_recorded_quantity(recorder: RowList) -> None:
    pairs = [
        SimpleNamespace(key="winding_celsius", value="41.5"),
        SimpleNamespace(key="time_to_limit_seconds", value="inf"),
    ]
    status = SimpleNamespace(name="toy: b", level=b"\0", message="", values=pairs)
    message = SimpleNamespace(header=header(1), status=[status])
    MessageAdapter(recorder).add(Topic(schema.MOTORS, "/toy/motors", schema.DIAGNOSTIC_TYPE), message, INFO)
    ((stream, values, _),) = recorder.rows
    assert (stream, list(values)) == ("motors", list(schema.motor_keys()))
    np.testing.assert_array_equal(values["winding"], [np.nan, 41.5])
    np.testing.assert_array_equal(values["time_to_limit"], [np.nan, np.inf])
    np.testing.assert_array_equal(values["current"], [np.nan, np.nan])


def raw(encoding: str, pixels: np.ndarray) -> Any:
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        header=header(1),
        width=width,
        height=height,
        encoding=encoding,
        is_bigendian=False,
        step=pixels[0].nbytes,
        data=pixels.tobytes(),
    )


def test_a_jpeg_is_passed_on_encoded_and_a_raw_image_as_pixels(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    jpeg = cv2.imencode(".jpg", PIXELS)[1].tobytes()
    compressed = SimpleNamespace(header=header(1), format="jpeg", data=jpeg)
    adapter.add(Topic("cameras/front", "/c/compressed", schema.COMPRESSED_IMAGE_TYPE), compressed, INFO)
    adapter.add(Topic("cameras/side", "/c", schema.IMAGE_TYPE), raw("rgb8", PIXELS), INFO)
    (front, first, _), (side, second, _) = recorder.rows
    assert (front, first, side) == ("cameras/front", jpeg, "cameras/side")
    np.testing.assert_array_equal(second, PIXELS)


def test_h264_waits_for_a_key_frame_and_takes_no_number_for_what_is_refused(recorder: RowList) -> None:
    adapter, topic = MessageAdapter(recorder), Topic("cameras/front", "/c/h264", schema.COMPRESSED_IMAGE_TYPE)
    data = encode([gray(10 * k) for k in range(20)], gop=5)

    def add(number: int) -> None:
        message = SimpleNamespace(header=header(number), format="H264", data=data[number])
        adapter.add(topic, message, INFO | {"publication_sequence_number": 7 + number})

    for number in (3, 4):
        with pytest.raises(ImageError, match="waits for a key frame"):
            add(number)
    for number in (5, 6):
        add(number)
    # 7 is lost on its way, and 8 and 9 need it.
    for number in (8, 9):
        with pytest.raises(ImageError, match="1 lost before this message"):
            add(number)
    for number in (10, 11):
        add(number)
    assert [image.data for _, image, _ in recorder.rows] == [data[5], data[6], data[10], data[11]]
    # One gap: that of the message which never arrived.
    sequences = [stamps["sequence"] for _, _, stamps in recorder.rows]
    assert np.diff(sequences).tolist() == [1, 2, 1]


def test_a_restarted_publisher_of_h264_starts_with_a_key_frame(recorder: RowList) -> None:
    adapter, topic = MessageAdapter(recorder), Topic("cameras/front", "/c/h264", schema.COMPRESSED_IMAGE_TYPE)
    data = encode([gray(10 * k) for k in range(10)], gop=5)
    for number in range(3):
        message = SimpleNamespace(header=header(number), format="h264", data=data[number])
        adapter.add(topic, message, INFO | {"publication_sequence_number": 7 + number})
    message = SimpleNamespace(header=header(3), format="h264", data=data[3])
    with pytest.raises(ImageError, match="waits for a key frame"):
        adapter.add(topic, message, INFO | {"publication_sequence_number": 1})


def test_depth_is_decoded_in_both_transports(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    depth = np.array([[0, 1], [300, 65535]], np.uint16)
    png = SimpleNamespace(
        header=header(1),
        format="16UC1; compressedDepth png",
        data=b"\0" * 12 + cv2.imencode(".png", depth)[1].tobytes(),
    )
    adapter.add(Topic("depth/front", "/d/compressedDepth", schema.COMPRESSED_IMAGE_TYPE), png, INFO)
    adapter.add(Topic("depth/front", "/d", schema.IMAGE_TYPE), raw("16UC1", depth), INFO)
    for _, image, _ in recorder.rows:
        np.testing.assert_array_equal(image, depth)


def test_color_images_on_a_depth_topic_and_the_reverse_are_refused(recorder: RowList) -> None:
    adapter = MessageAdapter(recorder)
    expected = "^/d has color images, expected depth; pass --camera front=/d$"
    with pytest.raises(ImageError, match=expected):
        adapter.add(Topic("depth/front", "/d", schema.IMAGE_TYPE), raw("rgb8", PIXELS), INFO)
    expected = "^/c has depth images, expected color; pass --camera depth/front=/c$"
    with pytest.raises(ImageError, match=expected):
        adapter.add(
            Topic("cameras/front", "/c", schema.IMAGE_TYPE), raw("16UC1", PIXELS[..., 0].astype(np.uint16)), INFO
        )
    assert recorder.rows == []
