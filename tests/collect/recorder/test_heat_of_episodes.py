"""Robot node and recorder node over real DDS: the robot counts episodes and forecasts how many more are possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo import ros
from waldo.collect.recorder.node import RecorderNode
from waldo.collect.recorder.recorder import Recorder
from waldo.datasets.dataset import Dataset
from waldo.robots.description import load_robot
from waldo.robots.diagnostics import MotorStatus, from_message
from waldo.robots.node import NodeConfig, RobotNode

pytestmark = pytest.mark.usefixtures("ros_domain")


def test_a_robot_forecasts_the_number_of_further_episodes(make_toy_driver: Callable[[], Any], tmp_path: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from std_srvs.srv import Trigger

    driver = make_toy_driver()
    motor = load_robot("so101").joints[0].motor
    driver.robot = replace(driver.robot, joints=tuple(replace(j, motor=motor) for j in driver.robot.joints))
    original_motors = driver.motors
    driver.motors = lambda: replace(original_motors(), current_a=np.array([2.0, 0.1]), winding_c=np.full(2, np.nan))
    dataset = Dataset.create(tmp_path / "set", robot="toy")
    ended = threading.Event()

    def robot() -> None:
        with ros.join_graph("robot", "toy") as graph:
            RobotNode(graph, driver, NodeConfig()).run(ended.is_set)

    def recorder() -> None:
        with dataset.lock(), ros.join_graph("recorder", "toy") as graph:
            RecorderNode(graph, Recorder(dataset, driver.robot, {})).run(ended.is_set)

    threads = [threading.Thread(target=work) for work in (robot, recorder)]
    for thread in threads:
        thread.start()
    motors: dict[str, MotorStatus] = {}
    recording: list[str] = []

    def on_motors(message: Any) -> None:
        motors.update(from_message(message))

    def on_diagnostics(message: Any) -> None:
        recording.extend(pair.value for s in message.status for pair in s.values if pair.key == "state")

    try:
        with ros.join_graph("operator", "toy") as graph:
            graph.node.create_subscription(DiagnosticArray, "motors", on_motors, ros.stream_qos())
            graph.node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, ros.stream_qos(10))
            start, save = (graph.node.create_client(Trigger, f"recorder/{name}") for name in ("start", "save"))
            assert graph.spin_until(lambda: bool(motors), 120)
            assert np.isnan(motors["a"].values["episodes_left"])
            assert graph.spin_until(lambda: graph.call(start, Trigger.Request(), 120).success, 120)
            assert graph.spin_until(lambda: recording[-1:] == ["recording"], 120)
            graph.spin_for(2.5)
            # A second request is needed if a busy machine kept the robot node from publishing for a time.
            assert graph.spin_until(lambda: graph.call(save, Trigger.Request(), 120).success, 120)
            assert graph.spin_until(lambda: motors["a"].values["episodes_left"] >= 0, 120)
            assert motors["b"].values["episodes_left"] == np.inf
            assert motors["a"].values["time_to_limit_planned_seconds"] > 0
    finally:
        ended.set()
        for thread in threads:
            thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
