"""Motor temperatures and faults from ROS topics of a robot that waldo does not drive itself."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from waldo import ros
from waldo.errors import HardwareError
from waldo.robots.diagnostics import ERROR, WARN
from waldo.typing import Array

Source = Literal["none", "diagnostics", "dynamic", "temperature"]
"""Kind of topic: none, DiagnosticArray, DynamicJointState, or one Temperature topic per joint."""

ESTIMATE_KEY = "winding_std_kelvin"
"""A diagnostic status with this key is waldo's own estimate, not a sensor."""
LEVELS = {WARN: "warning", ERROR: "error"}
"""Diagnostic level -> text for a status without a message."""


class TopicTemperatures:
    """The last temperature and fault of each joint; filled by the graph's thread and read by others."""

    def __init__(self, source: Source, topic: str, key: str, names: Sequence[str]) -> None:
        """Describe where the temperatures are published.

        Args:
            source: Kind of topic.
            topic: Name of the topic; empty for the usual one.
            key: Text contained in the key of a diagnostic status, or in the name of a joint interface.
            names: The robot's name of each joint.
        """
        self._source: Source = source
        self._topic, self._key = topic, key
        self._joint = {name: i for i, name in enumerate(names)}
        self._temperature = np.full(len(names), np.nan)
        self._faults = [""] * len(names)
        self._lock = threading.Lock()

    def subscribe(self, graph: ros.Graph) -> None:
        """Subscribe to the topics.

        Raises:
            HardwareError: If the package of the message type is not installed.
        """
        from rclpy.qos import qos_profile_sensor_data as qos

        if self._source == "diagnostics":
            kind = ros.message_type("diagnostic_msgs/msg/DiagnosticArray")
            graph.subscribe(kind, self._topic or "/diagnostics", self._on_diagnostics, qos)
        elif self._source == "dynamic":
            try:
                kind = ros.message_type("control_msgs/msg/DynamicJointState")
            except ImportError:
                raise HardwareError(
                    "temperature_source=dynamic requires control_msgs, which is part of a ROS installation "
                    "(apt install ros-jazzy-control-msgs); source it, or use temperature_source=diagnostics"
                ) from None
            graph.subscribe(kind, self._topic or "/dynamic_joint_states", self._on_dynamic, qos)
        elif self._source == "temperature":
            kind = ros.message_type("sensor_msgs/msg/Temperature")
            for name, joint in self._joint.items():
                topic = (self._topic or "/{joint}/temperature").replace("{joint}", name)
                graph.subscribe(kind, topic, lambda m, j=joint: self._keep(j, m.temperature), qos)

    def latest(self) -> tuple[Array, tuple[str, ...]]:
        """Return the temperatures, shape (joints,) [°C], and the faults; NaN and empty if none was published."""
        with self._lock:
            return self._temperature.copy(), tuple(self._faults)

    def _keep(self, joint: int, celsius: float) -> None:
        with self._lock:
            self._temperature[joint] = celsius

    def _on_diagnostics(self, message: Any) -> None:
        """Store the temperature and fault of each joint that a status names."""
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if ESTIMATE_KEY in values:
                continue
            level = int.from_bytes(status.level) if isinstance(status.level, bytes) else int(status.level)
            fault = (status.message or LEVELS.get(level, "stale")) if level else ""
            celsius = _first_number(values, self._key)
            for joint in (joint for name, joint in self._joint.items() if _names_joint(status.name, name)):
                with self._lock:
                    self._faults[joint] = fault
                if math.isfinite(celsius):
                    self._keep(joint, celsius)

    def _on_dynamic(self, message: Any) -> None:
        """Store the temperature among each joint's interfaces."""
        for name, interfaces in zip(message.joint_names, message.interface_values, strict=True):
            if name in self._joint:
                values = dict(zip(interfaces.interface_names, map(str, interfaces.values), strict=True))
                self._keep(self._joint[name], _first_number(values, self._key))


def _names_joint(status: str, joint: str) -> bool:
    """Whether the name of a status ("arm: shoulder", "/arm/shoulder") ends with the name of a joint."""
    return status.replace("/", " ").replace(":", " ").split()[-1:] == [joint]


def _first_number(values: Mapping[str, str], key: str) -> float:
    """Return the first value whose key contains `key`, ignoring case; NaN if there is none or it is not a number."""
    for name, text in values.items():
        if key.lower() in name.lower():
            try:
                return float(text.split()[0])
            except (ValueError, IndexError):
                return math.nan
    return math.nan
