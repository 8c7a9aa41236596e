import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from waldo.fleet.listener import Listener, robot_of, subscribed_topics
from waldo.fleet.store import FleetStore, RobotView
from waldo.robots.diagnostics import ERROR, WARN, ComponentStatus, component_message, to_message
from waldo.robots.motor_readings import MotorReadings

CAMERA = ComponentStatus(component="camera front", level=ERROR, message="no frame for 3.0 s")
MOTORS, BATTERY = "diagnostic_msgs/msg/DiagnosticArray", "sensor_msgs/msg/BatteryState"


def message_of(robot: str, winding_c: float):
    known = {"winding_c": [winding_c, 30.0], "limit_c": [70.0, 70.0], "time_to_limit_s": [120.0, math.inf]}
    fields = {
        name: np.array(known.get(name, [math.nan, math.nan])) for name in MotorReadings.__slots__ if name != "notes"
    }
    fields["notes"] = ("overload", "")
    return to_message(robot, ["elbow", "wrist"], ["serial 1", "serial 2"], MotorReadings(**fields), 0)


@contextmanager
def publishing(robots: dict[str, str]) -> Iterator[None]:
    """Publish motors, component statuses and a battery of each namespace -> robot until the block ends."""
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import BatteryState

    from waldo.ros import join_graph, stream_qos

    stop = threading.Event()

    def run() -> None:
        with join_graph("publisher") as graph:
            create = graph.node.create_publisher
            motors = {robot: create(DiagnosticArray, f"{ns}/motors", stream_qos()) for ns, robot in robots.items()}
            statuses = {robot: create(DiagnosticArray, f"{ns}/status", stream_qos()) for ns, robot in robots.items()}
            batteries = [create(BatteryState, f"{ns}/battery", stream_qos()) for ns in robots]
            other = create(BatteryState, "/decoy/motors", stream_qos())
            while not stop.is_set():
                for robot, publisher in motors.items():
                    publisher.publish(message_of(robot, 55.0))
                for robot, publisher in statuses.items():
                    publisher.publish(component_message(robot, [CAMERA], 0))
                for publisher in (*batteries, other):
                    publisher.publish(BatteryState(percentage=0.25))
                graph.spin_for(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for(store: FleetStore, names: set[str]) -> dict[str, RobotView]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        robots = {robot.name: robot for robot in store.robots(time.monotonic())}
        if names <= {n for n, r in robots.items() if r.motors and r.components and r.battery_ratio == 0.25}:
            return robots
        time.sleep(0.05)
    raise AssertionError(f"received only {store.robots(time.monotonic())}")


def test_topics_are_selected_by_name_and_type() -> None:
    graph = [
        ("/a/motors", [MOTORS]),
        ("/a/battery", [BATTERY]),
        ("/a/status", [MOTORS]),
        ("/b/motors", [BATTERY]),
        ("/c/motors", [BATTERY, MOTORS]),
        ("/a/other_motors", [MOTORS]),
        ("/diagnostics", [MOTORS]),
    ]
    assert subscribed_topics(graph) == ["/a/battery", "/a/motors", "/a/status", "/c/motors"]
    assert robot_of("/lab/arm/motors") == "lab/arm"
    assert robot_of("/motors") == ""


def test_robots_are_discovered_before_and_after_the_start_of_the_dashboard(ros_domain) -> None:
    store = FleetStore()
    with publishing({"/lab/arm": "lab/arm", "": "twin"}), Listener(store) as listener:
        robots = wait_for(store, {"lab/arm", "twin"})
        assert set(robots) == {"lab/arm", "twin"}
        elbow, wrist = robots["lab/arm"].motors
        assert (elbow.joint, elbow.values["winding_celsius"], elbow.urgency) == ("elbow", 55.0, "warning")
        assert wrist.values["time_to_limit_seconds"] == math.inf
        assert math.isnan(wrist.values["current_amperes"])
        assert (elbow.status.level, elbow.status.message) == (
            WARN,
            "winding at 55.0 °C, 15.0 K below the limit; overload",
        )
        assert [(one.component, one.message) for one in robots["lab/arm"].faults] == [
            ("camera front", "no frame for 3.0 s"),
            ("elbow", "overload"),
        ]
        with publishing({"/late": "late"}):
            wait_for(store, {"late"})
        assert listener.error is None


def test_messages_without_motors_are_ignored(ros_domain) -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    store = FleetStore()
    Listener(store).add_motors("/arm/motors", DiagnosticArray(status=[DiagnosticStatus(name="arm: fan")]))
    assert store.robots(0.0) == []


def test_the_exception_that_stopped_the_listener_is_kept(ros_domain, monkeypatch) -> None:
    def refuse(_: str) -> None:
        raise RuntimeError("no DDS here")

    monkeypatch.setattr("waldo.ros.join_graph", refuse)
    with Listener(FleetStore()) as listener:
        listener._thread.join(timeout=120)
        assert listener.error == "RuntimeError: no DDS here"
