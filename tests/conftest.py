"""What every test shares: a ROS domain of its own on this machine only, no hub, and a toy robot."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from waldo.datasets.storage.store_path import ObjectPath, store_of
from waldo.graphics import choose_backend
from waldo.robots.constant import Constant
from waldo.robots.description import Camera, Joint, Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.motor import Motor
from waldo.train import package_map

pytest_plugins = (
    "tests.machine",
    "tests.distribution",
    "tests.recordings",
    "tests.dashboards",
    "tests.trainings",
    "tests.lerobot_timeouts",
)
"""Fixtures that tests of several rooms use."""

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Before any test, or any library that a test needs, imports MuJoCo.
choose_backend()
# Before any test imports LeRobot.
package_map.install()
# What is imported while tests are collected lives until the end.
gc.disable()
# A deadline is a timing assertion, and so is the health check of slow generation.
settings.register_profile("waldo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waldo")


def pytest_collection_finish() -> None:
    """Exempt what was imported from garbage collection, which would visit it many times."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Exempt everything from the collections of the interpreter's exit, which would take seconds."""
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Fail a test after which this process has another priority, which the programs of all later tests would inherit.

    Encoders do that to root's processes; at real-time priority they stop a machine of two cores.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        pytest.fail("the process has real-time priority after this test")


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain that no other test process on this machine uses at the same time."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    number = os.getppid() + 13 * int(worker.removeprefix("gw")) if worker else os.getpid()
    domain = 1 + number % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    return domain


class ToyDriver:
    """A simulated robot with two joints that reaches its target in one cycle, so results can be computed by hand."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.position = np.zeros(len(robot.joints))
        self.tick = self.seed = 0
        self.winding = np.full(len(robot.joints), 30.0)
        self._target = self.position.copy()

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> RobotState:
        still = np.zeros_like(self.position)
        stamp = round(self.tick * 1e9 / 60)
        return RobotState(stamp_ns=stamp, position=self.position.copy(), velocity=still, effort=still)

    def motors(self) -> MotorSensors:
        some = {name: np.full_like(self.winding, 0.5) for name in ("current_a", "voltage_v", "torque_nm")}
        return replace(MotorSensors.unknown(len(self.winding)), **some, winding_c=self.winding.copy())

    def write(self, targets: np.ndarray) -> np.ndarray:
        self._target = targets.copy()
        return self._target

    def frames(self) -> Sequence[Frame]:
        if self.tick % 2:
            return []
        rgb = np.full((48, 64, 3), 10 * self.tick % 250, np.uint8)
        return [Frame(camera=c.name, stamp_ns=self.read().stamp_ns, rgb=rgb) for c in self.robot.cameras]

    def advance(self) -> None:
        self.position = self._target.copy()
        self.tick += 1

    def reset(self, seed: int) -> bool:
        self.seed = seed
        self.position = np.zeros(len(self.robot.joints))
        return True

    def environment(self) -> tuple[tuple[str, ...], np.ndarray]:
        return ("cube.x", "cube.y"), np.array([self.seed, 0.25])

    def task(self) -> Mapping[str, object]:
        return {"task": "lift the cube", "name": "toy", "seed": self.seed}

    def success(self) -> bool:
        return self.seed % 2 == 0


@pytest.fixture
def toy_robot() -> Robot:
    """Two joints and one camera."""
    one = {
        "motor": Motor(name="m", winding_limit=Constant(70.0, "°C", "assumed", "a test")),
        "lower": -2.0,
        "upper": 2.0,
        "velocity": 3.0,
        "acceleration": 60.0,
        "effort": 1.0,
    }
    joints = (Joint(name="a", **one), Joint(name="b", **one))
    return Robot(
        name="toy", model="toy", joints=joints, cameras=(Camera(name="front", width=64, height=48, fps=30),), mjcf=""
    )


@pytest.fixture
def make_toy_driver(toy_robot: Robot) -> Callable[[], ToyDriver]:
    """Make toy drivers."""
    return lambda: ToyDriver(toy_robot)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Serve S3 on this machine for the tests; its address is in the environment, as users have theirs."""
    from moto import backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    services = list(backends.list_of_moto_modules())
    with pytest.MonkeyPatch.context() as patch:
        # The server would list the folders of its services twice per request, half of its work.
        patch.setattr(backends, "list_of_moto_modules", lambda: services)
        for name, value in variables.items():
            patch.setenv(name, value)
        store_of.cache_clear()  # of a server of an earlier run in this process
        yield address
    server.stop()


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> ObjectPath:
    """Return an empty bucket of the test's own."""
    import boto3

    name = f"bucket-{abs(hash(request.node.nodeid)):x}"
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket=name)
    return ObjectPath(f"s3://{name}", "")
