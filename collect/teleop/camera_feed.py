"""The images of a robot's color cameras for a device that shows them to its operator."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waldo import ros
from waldo.collect.recorder.topics import Topic, find_cameras
from waldo.datasets import schema
from waldo.robots.cameras import ros_images
from waldo.robots.cameras.ros_images import Image

if TYPE_CHECKING:
    from waldo.ros import Graph

LOG = logging.getLogger("waldo.collect")

LOOK_S = 1.0
"""Interval at which new cameras are looked for [s]."""


class CameraFeed:
    """Subscribes to the cameras in the robot's namespace, once they publish."""

    def __init__(self, graph: Graph, show: Callable[[str, bytes | Image, int], None]) -> None:
        """Initialize.

        Args:
            graph: The node on the ROS graph, in the robot's namespace.
            show: Called with the stream, image and stamp [ns] of each image.
        """
        self._graph, self._show = graph, show
        self._subscribed: set[str] = set()
        self._skipped: set[str] = set()
        self._looked_s = float("-inf")

    def look(self, now_s: float | None = None) -> None:
        """Subscribe to new cameras, at most once per `LOOK_S`; `now_s` is the time of a monotonic clock [s]."""
        now_s = time.monotonic() if now_s is None else now_s
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        node = self._graph.node
        for topic in find_cameras(dict(node.get_topic_names_and_types()), node.get_namespace(), {}):
            if topic.stream.startswith(schema.CAMERA_PREFIX) and topic.stream not in self._subscribed:
                self._subscribe(topic)

    def _subscribe(self, topic: Topic) -> None:
        from rclpy.qos import ReliabilityPolicy

        # The newest image is enough; a lost one is not sent again, as it would delay those behind it.
        qos = ros.stream_qos(1)
        qos.reliability = ReliabilityPolicy.BEST_EFFORT
        convert = ros_images.from_raw if topic.type == schema.IMAGE_TYPE else ros_images.from_compressed

        def on_message(message: Any, info: Any) -> None:
            del info
            if ros_images.is_h264(message):
                self._skip(topic)
                return
            self._show(topic.stream, convert(message), ros.stamp_to_ns(message.header.stamp))

        self._graph.subscribe(ros.message_type(topic.type), topic.name, on_message, qos)
        self._subscribed.add(topic.stream)

    def _skip(self, topic: Topic) -> None:
        """Log, once, that a camera is not shown."""
        if topic.stream not in self._skipped:
            self._skipped.add(topic.stream)
            LOG.warning("%s publishes H.264, which is not shown while teleoperating; publish JPEG as well", topic.name)
