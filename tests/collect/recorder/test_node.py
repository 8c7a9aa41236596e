"""The recorder node over real DDS and in real time: every kind of image, all three stamps, a camera that vanishes."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from waldo import ros
from waldo.collect.recorder.node import RecorderNode
from waldo.collect.recorder.recorder import Recorder
from waldo.datasets.dataset import Dataset
from waldo.robots.description import Robot

pytestmark = pytest.mark.usefixtures("ros_domain")

MILLIMETRES = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)


@contextmanager
def recording(dataset: Dataset, robot: Robot) -> Iterator[RecorderNode]:
    """Run a recorder node on a thread for as long as the block runs."""
    ended, ready = threading.Event(), threading.Event()
    nodes: list[RecorderNode] = []

    def work() -> None:
        with dataset.lock(), ros.join_graph("recorder", "toy") as graph:
            nodes.append(RecorderNode(graph, Recorder(dataset, robot, {}), {"cameras/side": "/elsewhere/image"}))
            ready.set()
            nodes[0].run(ended.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield nodes[0]
    finally:
        ended.set()
        thread.join(120)
        assert not thread.is_alive()


class Robotlike:
    """Publishes what a robot would, one tick at a time."""

    def __init__(self, graph: ros.Graph) -> None:
        from sensor_msgs.msg import CompressedImage, Image, JointState

        self._graph = graph
        self._kinds = {
            "joint_states": JointState,
            "cameras/front/image_raw/compressed": CompressedImage,
            "cameras/front/depth/image_raw/compressedDepth": CompressedImage,
            "/elsewhere/image": Image,
        }
        self._publishers = {
            name: graph.node.create_publisher(kind, name, ros.stream_qos()) for name, kind in self._kinds.items()
        }

    def wait_for_the_recorder(self) -> None:
        assert self._graph.spin_until(lambda: all(p.get_subscription_count() for p in self._publishers.values()), 120)

    def publish(self, tick: int, *, camera: bool = True) -> None:
        """Publish the state and, unless the cable is off, the pictures of tick `tick`."""
        state = self._kinds["joint_states"](name=["b", "a"], position=[-float(tick), float(tick)])
        self._send("joint_states", state)
        if not camera:
            return
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 8 * tick % 256, np.uint8))[1].tobytes()
        self._send("cameras/front/image_raw/compressed", self._compressed("jpeg", jpeg))
        png = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", MILLIMETRES + tick)[1].tobytes()
        depth = self._compressed("16UC1; compressedDepth png", png)
        self._send("cameras/front/depth/image_raw/compressedDepth", depth)
        raw = self._kinds["/elsewhere/image"](width=64, height=48, step=192, encoding="bgr8")
        raw.data = np.full((48, 64, 3), (0, 0, 200), np.uint8).tobytes()
        self._send("/elsewhere/image", raw)

    def _compressed(self, name: str, data: bytes) -> Any:
        return self._kinds["cameras/front/image_raw/compressed"](format=name, data=data)

    def _send(self, topic: str, message: Any) -> None:
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        self._publishers[topic].publish(message)


def until(condition: Callable[[], bool], act: Callable[[], None]) -> None:
    """Act thirty times a second until the condition holds."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        act()
        time.sleep(1 / 30)


def test_a_real_session_is_recorded_as_it_was(tmp_path: Path, toy_robot: Robot) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import Trigger

    dataset = Dataset.create(tmp_path / "set", robot="toy")
    statuses: list[Any] = []
    with recording(dataset, toy_robot) as node, ros.join_graph("robot", "toy") as graph:
        graph.node.create_subscription(DiagnosticArray, "/diagnostics", statuses.append, ros.stream_qos(10))
        robot = Robotlike(graph)
        robot.wait_for_the_recorder()
        clients = {name: graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save")}
        sent = iter(range(100_000))
        until(lambda: len(node.recorder._seen) == 4, lambda: robot.publish(next(sent)))
        started = graph.call(clients["start"], Trigger.Request(), 120)
        assert started.success, started.message
        first = next(sent)
        robot.publish(first)
        until(lambda: node.recorder.seconds > 0.5, lambda: robot.publish(next(sent)))
        until(
            lambda: len(node._health.status(time.monotonic_ns()).silent) == 3,
            lambda: robot.publish(next(sent), camera=False),
        )
        robot.publish(next(sent))
        last = next(sent)
        robot.publish(last)
        wanted = last - first + 1
        assert graph.spin_until(lambda: node.recorder._writer.counts["joints/state"] == wanted, 120)
        assert graph.spin_until(lambda: node.recorder._writer.counts["depth/front"] > 2, 120)
        saved = graph.call(clients["save"], Trigger.Request(), 120)
        assert saved.success, saved.message
        assert graph.spin_until(lambda: bool(statuses), 120)
    episode = dataset.episodes[0]
    assert (episode.outcome, episode.reason) == ("success", "operator")
    # by name, in the robot's own order
    position = episode.values("joints/state", "position")
    np.testing.assert_array_equal(position[:, 0], np.arange(first, last + 1))
    np.testing.assert_array_equal(position[:, 1], -position[:, 0])
    for name in episode.streams:
        header, published, receipt = (episode.time_ns(name, clock) for clock in ("header", "publish", "receipt"))
        assert np.all(header <= published)
        assert np.all(published <= receipt)
        assert episode.lost(name) == 0
    depth = episode.frames("depth/front", [0])[0].astype(int) - MILLIMETRES
    assert depth.min() == depth.max()
    assert first <= depth[0, 0] <= first + 1
    side = episode.frames("cameras/side", [0])[0].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(side, (200, 0, 0), atol=4)
    kinds = [(event["kind"], event["stream"]) for event in episode.events]
    assert sorted(kinds[:3]) == [("stream_lost", s) for s in ("cameras/front", "cameras/side", "depth/front")]
    assert ("stream_back", "cameras/front") in kinds[3:]
    status = next(s for s in statuses[-1].status if s.name == "toy: recorder")
    assert {pair.key for pair in status.values} >= {"state", "lost_messages", "disk_seconds_left", "silent"}
