"""A camera that publishes H.264, through the recorder node over DDS into the store: exact, complete, and in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.collect.recorder.test_node import Shown, received, recording, until
from tests.h264_camera import encode
from waldo import ros
from waldo.collect.notice import Notice
from waldo.collect.recorder.recorder import RecorderConfig
from waldo.datasets.dataset import Dataset
from waldo.datasets.recording.access_units import AccessUnits
from waldo.datasets.recording.live_decoder import LiveDecoder
from waldo.robots.description import Robot

pytestmark = pytest.mark.usefixtures("ros_domain")

GOP, COUNT = 15, 600


def scene(number: int) -> np.ndarray:
    """Return an image (48, 64, 3) with contrast, in which a bar moves."""
    image = np.repeat(np.array([[60] * 32 + [120] * 32], np.uint8)[..., None].repeat(3, 2), 48, axis=0)
    image[:, number % 64] = 220
    return image


DATA = encode([scene(k) for k in range(COUNT)], gop=GOP)


class Camera:
    """Publishes states and H.264, one tick at a time."""

    def __init__(self, graph: ros.Graph) -> None:
        from sensor_msgs.msg import CompressedImage, JointState

        node, qos = graph.node, ros.stream_qos()
        self._graph, self._image, self._state = graph, CompressedImage, JointState
        self._states = node.create_publisher(JointState, "joint_states", qos)
        self._images = node.create_publisher(CompressedImage, "cameras/front/image_raw/compressed", qos)
        self.number = 3
        """The next access unit; the key frame of the first ones was published before."""
        self.stamps: dict[int, int] = {}
        """Time of each message [ns] -> the number of its access unit."""

    def wait_for_the_recorder(self) -> None:
        both = (self._states, self._images)
        assert self._graph.spin_until(lambda: all(one.get_subscription_count() for one in both), 120)

    def publish(self, change: Callable[[bytes], bytes] = lambda data: data) -> None:
        """Publish a state, and the next access unit."""
        stamp_ns = time.time_ns()
        state = self._state(name=["a", "b"], position=[0.1 * self.number % 1, 0.0])
        image = self._image(format="h264", data=change(DATA[self.number % COUNT]))
        state.header.stamp = image.header.stamp = ros.ns_to_stamp(stamp_ns)
        self._states.publish(state)
        self._images.publish(image)
        self.stamps[stamp_ns] = self.number % COUNT
        self.number += 1


def decoded() -> list[np.ndarray]:
    """Return the frames of all access units, as a decoder that has seen them all returns them."""
    units, decoder = AccessUnits(), LiveDecoder()
    return [decoder.decode(unit) for data in DATA if (unit := units.add(data)) is not None]


def test_h264_is_recorded_exactly_from_within_a_group_on(tmp_path: Path, toy_robot: Robot) -> None:
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    notices: list[Notice] = []
    view = Shown(notices)
    config = RecorderConfig(codec="lossless")
    with recording(dataset, toy_robot, config, view) as node, ros.join_graph("robot", "toy") as graph:
        camera = Camera(graph)
        camera.wait_for_the_recorder()
        clients: Any = {name: graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save")}
        # Before the first key frame nothing can be decoded.
        until(lambda: any("waits for a key frame" in one.text for one in notices), camera.publish)
        until(lambda: received(node, 2), camera.publish)
        until(lambda: camera.number % GOP == 7, camera.publish)
        started = graph.call(clients["start"], Trigger.Request(), 120)
        assert started.success, started.message
        first = camera.number
        until(lambda: camera.number == first + 60, camera.publish)
        # One damaged access unit costs it and the rest of its group.
        until(lambda: camera.number % GOP == 10, camera.publish)
        camera.publish(lambda data: data[: len(data) // 2])
        until(lambda: camera.number == first + 100, camera.publish)
        writer: Any = node.recorder._writer
        total = camera.number - first
        assert graph.spin_until(lambda: writer.counts["joints/state"] == total, 120)
        saved = graph.call(clients["save"], Trigger.Request(), 120)
        assert saved.success, saved.message
    assert len(view.images) > 50
    episode = dataset.episodes[0]
    expected, stamps = decoded(), episode.time_ns("cameras/front", "header")
    lost = GOP - 10
    assert len(stamps) == total - lost
    assert episode.lost("cameras/front") == lost
    frames = episode.frames("cameras/front", range(len(stamps)))
    # Each frame has the stamp of the message that it was in, and every pixel.
    for stamp_ns, frame in zip(stamps, frames, strict=True):
        np.testing.assert_array_equal(frame, expected[camera.stamps[int(stamp_ns)]])
    assert camera.stamps[int(stamps[0])] == first % COUNT
    dropped = [event["text"] for event in episode.events if event["kind"] == "dropped"]
    assert len(dropped) == lost
    assert "damaged" in dropped[0]
    assert all("waits for a key frame" in text for text in dropped[1:])
