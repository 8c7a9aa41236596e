"""The LeRobot plug-in, discovered by LeRobot as an installed distribution and run by LeRobot's own commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from waldo import registry, ros
from waldo.errors import HardwareError, UnknownNameError
from waldo.robots.description import Robot
from waldo.robots.node import NodeConfig, RobotNode

pytestmark = [pytest.mark.usefixtures("ros_domain", "plugin"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SOURCE = Path(__file__).parents[2] / "plugins" / "lerobot_robot_waldo"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the plug-in and unpack its wheel, as an installer does."""
    work = tmp_path_factory.mktemp("plugin")
    shutil.copytree(SOURCE, work / "source")
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=work / "source", check=True, capture_output=True)
    (built,) = work.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(work / "site")
    return work / "site"


@pytest.fixture
def plugin(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let LeRobot discover the plug-in."""
    from lerobot.utils.import_utils import register_third_party_plugins

    monkeypatch.syspath_prepend(str(wheel))
    register_third_party_plugins()
    assert "lerobot_robot_waldo" in sys.modules


@pytest.fixture
def toy(toy_robot: Robot, make_toy_driver: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a toy robot and a toy driver under the name "toy"."""
    module = ModuleType("toy_of_this_test")
    module.ROBOT = toy_robot  # type: ignore[attr-defined]
    made = make_toy_driver()
    module.make = lambda robot, **options: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for group, attribute in (("waldo.robots", "ROBOT"), ("waldo.drivers", "make")):
        entry = EntryPoint("toy", f"{module.__name__}:{attribute}", group)
        monkeypatch.setitem(registry.entries(group), "toy", entry)
    return made


@contextmanager
def robot_node(toy: Any) -> Iterator[None]:
    """Run a robot node in the namespace "toy"."""
    ended, ready = threading.Event(), threading.Event()

    def work() -> None:
        with ros.join_graph("robot", "toy") as graph:
            node = RobotNode(graph, toy, NodeConfig())
            ready.set()
            node.run(ended.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(60)
    yield
    ended.set()
    thread.join(60)


def make(**fields: Any) -> Any:
    """Create the robot by its registered name, as LeRobot's commands do."""
    from lerobot.robots import RobotConfig
    from lerobot.robots.utils import make_robot_from_config

    config = RobotConfig.get_choice_class("waldo")(id="t", robot="toy", **fields)
    return make_robot_from_config(config)


def teleoperator() -> Any:
    """Return the configuration of a registered teleoperator that commands 10 and -5 degrees."""
    from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

    name = "lerobot_teleoperator_constant"
    if name not in sys.modules:
        module = ModuleType(name)

        @TeleoperatorConfig.register_subclass("constant")
        @dataclass
        class ConstantConfig(TeleoperatorConfig):
            pass

        class Constant(Teleoperator):
            config_class, name = ConstantConfig, "constant"
            action_features: ClassVar = {"a.pos": float, "b.pos": float}
            feedback_features: ClassVar = {}
            is_connected = is_calibrated = True
            connect = calibrate = configure = disconnect = lambda self, **_: None
            send_feedback = lambda self, feedback: None  # noqa: E731

            def get_action(self) -> dict[str, float]:
                return {"a.pos": 10.0, "b.pos": -5.0}

        Constant.__abstractmethods__ = frozenset()
        ConstantConfig.__module__ = name
        module.Constant, module.ConstantConfig = Constant, ConstantConfig  # type: ignore[attr-defined]
        sys.modules[name] = module
    return sys.modules[name].ConstantConfig(id="t")


def test_features_are_positions_motor_quantities_and_images(toy: Any) -> None:
    robot = make(heat=["winding_c", "time_to_limit_s"], percent=["b"])
    assert list(robot.observation_features) == [
        "a.pos", "b.pos", "a.winding_c", "a.time_to_limit_s", "b.winding_c", "b.time_to_limit_s", "front",
    ]  # fmt: skip
    assert robot.observation_features["front"] == (48, 64, 3)
    assert robot.action_features == {"a.pos": float, "b.pos": float}
    assert robot.is_calibrated
    assert not robot.is_connected
    with pytest.raises(UnknownNameError, match="unknown motor quantity in heat 'winding'; did you mean 'winding_c'"):
        make(heat=["winding"])


def test_a_driver_in_this_process(toy: Any) -> None:
    toy.winding[1] = np.nan
    robot = make(driver="toy", percent=["b"])
    robot.connect()
    # The range of b is -2 to 2 rad: 75 of 100 is 1 rad.
    applied = robot.send_action({"a.pos": 90.0, "b.pos": 75.0})
    np.testing.assert_allclose(list(applied.values()), [90.0, 75.0])
    np.testing.assert_allclose(toy._target, [np.pi / 2, 1.0])
    while toy.tick < 2:
        observation = robot.get_observation()
    np.testing.assert_allclose([observation["a.pos"], observation["b.pos"]], [90.0, 75.0])
    assert (observation["a.winding_c"], observation["b.winding_c"]) == (30.0, -273.15)
    assert observation["front"].shape == (48, 64, 3)
    robot.disconnect()
    assert not robot.is_connected


def test_without_a_robot_node_the_error_names_the_command_to_run(toy: Any) -> None:
    robot = make(timeout_s=0.5)
    with pytest.raises(
        HardwareError, match=r"no message on joint_states, motors, cameras/front in the namespace 'toy'"
    ):
        robot.connect()
    assert not robot.is_connected


def test_lerobot_teleoperate_moves_a_robot_node(toy: Any) -> None:
    from lerobot.scripts.lerobot_teleoperate import TeleoperateConfig, teleoperate

    config = make(timeout_s=60.0).config
    with robot_node(toy):
        teleoperate(TeleoperateConfig(teleop=teleoperator(), robot=config, fps=30, teleop_time_s=2.0))
    np.testing.assert_allclose(np.rad2deg(toy.position), [10.0, -5.0], atol=0.5)


def test_lerobot_record_stores_temperatures_and_images(toy: Any, tmp_path: Path) -> None:
    from lerobot.configs.dataset import DatasetRecordConfig
    from lerobot.scripts.lerobot_record import RecordConfig, record

    config = make(timeout_s=60.0).config
    target = DatasetRecordConfig(
        repo_id="waldo/toy", single_task="lift", root=tmp_path / "dataset", fps=15, episode_time_s=1.0, reset_time_s=0,
        num_episodes=1, video=False, push_to_hub=False, no_stamp=True,
    )  # fmt: skip
    toy.winding[0] = 55.0
    with robot_node(toy):
        dataset = record(RecordConfig(robot=config, dataset=target, teleop=teleoperator(), play_sounds=False))
    names = dataset.meta.features["observation.state"]["names"]
    assert names == ["a.pos", "b.pos", "a.winding_c", "b.winding_c"]
    assert len(dataset) > 3
    row = dataset[len(dataset) - 1]
    assert abs(float(row["observation.state"][2]) - 55.0) < 1.5
    np.testing.assert_allclose(row["action"].numpy(), [10.0, -5.0])
    assert tuple(row["observation.images.front"].shape) == (3, 48, 64)
