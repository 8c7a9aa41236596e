"""The robot node stops when the USB plug of a servo arm is pulled, and continues after it is reconnected."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from waldo import ros
from waldo.robots.control.safety import Mode
from waldo.robots.description import load_robot
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.robots.node import NodeConfig, RobotNode
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos

pytestmark = pytest.mark.usefixtures("ros_domain")
SO101 = load_robot("so101")


@contextmanager
def plugged(link: Path) -> Iterator[FeetechServos]:
    """Yield an emulated arm whose port is reachable through a symbolic link."""
    with FeetechServos(EmulatedJoints(SO101)) as servos:
        link.unlink(missing_ok=True)
        link.symlink_to(servos.port)
        yield servos


def test_a_pulled_plug_stops_the_robot_until_it_is_reconnected_and_enabled(tmp_path: Path) -> None:
    from sensor_msgs.msg import JointState
    from std_srvs.srv import SetBool

    link = tmp_path / "arm"
    driver = FeetechDriver(SO101, port=str(link), response_timeout_s=1.0, motor_timeout_s=20.0)
    stop, ready = threading.Event(), threading.Event()
    nodes: list[RobotNode] = []

    def work() -> None:
        with ros.join_graph("robot", "arm") as graph:
            nodes.append(RobotNode(graph, driver, NodeConfig(rate_hz=100)))
            ready.set()
            nodes[0].run(stop.is_set)

    thread = threading.Thread(target=work)
    try:
        with plugged(link) as servos, ros.join_graph("operator", "arm") as graph:
            driver.connect()
            thread.start()
            assert ready.wait(60)
            commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
            assert graph.spin_until(lambda: commands.get_subscription_count() > 0, 120)

            def follows(robot: FeetechServos, target: float) -> bool:
                commands.publish(JointState(name=["shoulder_pan"], position=[target]))
                graph.spin_for(0.02)
                return abs(robot.joints.position[0] - target) < 0.01

            assert graph.spin_until(lambda: follows(servos, 0.2), 120)
            servos.unplug()
            assert graph.spin_until(lambda: nodes[0].safety.status.mode is Mode.STOPPED, 120)
            assert "was disconnected" in nodes[0].safety.status.reason
            assert "check the USB plug" in nodes[0].safety.status.reason
            with plugged(link) as again:
                assert graph.spin_until(lambda: any(servo.memory[40] for servo in again.servos), 120)
                # It holds its position and ignores commands until it is enabled.
                assert not graph.spin_until(lambda: follows(again, 0.2), 0.5)
                np.testing.assert_allclose(again.joints.position[0], SO101.home[0], atol=0.01)
                enable = graph.node.create_client(SetBool, "robot/enable")
                assert graph.call(enable, SetBool.Request(data=True), 60).success
                assert graph.spin_until(lambda: follows(again, 0.2), 120)
                stop.set()
                thread.join(60)
    finally:
        stop.set()
        if thread.is_alive():
            thread.join(60)
        driver.disconnect()
