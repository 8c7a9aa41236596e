"""`waldo robot`: typed options of the driver, the safety chain and the heat monitor."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from waldo import registry
from waldo.cli.main import main, parse
from waldo.cli.robot import RobotCommand, missing_cameras
from waldo.errors import ConfigError, UnknownNameError
from waldo.robots.cameras.rig import WithCameras
from waldo.robots.control.cycle import ControlCycle
from waldo.robots.description import Robot, load_robot
from waldo.robots.drivers.options import driver_options
from waldo.robots.thermal.observer import AMBIENT
from waldo.sim.tasks.task import default_task, load_task


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOptions:
    """Options of the driver of these tests."""

    port: str = ""
    """Serial port of the arm."""
    ids: tuple[int, ...] = (1, 2)
    """Bus id of each joint."""
    stale_s: float = 0.25
    """Largest age of a reading [s]."""


class ArmDriver:
    """A driver that stores its options."""

    Options: ClassVar[type] = ArmOptions

    def __init__(self, robot: Robot, **options: Any) -> None:
        self.robot, self.options = robot, options


@pytest.fixture(autouse=True)
def arm_driver() -> Iterator[None]:
    """Register the driver as "arm"."""
    entries = registry.entries("waldo.drivers")
    entries["arm"] = EntryPoint("arm", f"{__name__}:ArmDriver", "waldo.drivers")
    yield
    del entries["arm"]


def robot(*args: str) -> RobotCommand:
    command = parse("robot", args)
    assert isinstance(command, RobotCommand)
    return command


def test_the_options_of_the_selected_driver_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["robot", "so101", "--driver", "arm", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--arm.port STR Serial port of the arm." in text
    assert "--arm.ids [INT [INT ...]] Bus id of each joint. (default: 1 2)" in text
    assert "--arm.stale-s FLOAT Largest age of a reading [s]. (default: 0.25)" in text
    assert "--safety.timeout-s FLOAT Hold if the last command is older than this [s]. (default: 0.2)" in text
    assert "--heat.governor.margin-k FLOAT" in text
    assert "--govern, --no-govern" in text


@pytest.mark.parametrize(
    "driver", ["feetech", "dynamixel", "damiao", "robstride", "unitree", "lerobot", "topics", "twin", "model"]
)
def test_every_driver_lists_its_options(driver: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["robot", "so101", "--driver", driver, "--help"])
    listed = capsys.readouterr().out
    for option in driver_options(driver):
        assert f"--{driver}.{option.name.replace('_', '-')}" in listed


def test_typed_driver_options_reach_the_driver() -> None:
    driver: Any = robot("so101", "--driver", "arm", "--arm.ids", "3", "4", "--arm.stale-s", "0.5").make_driver()
    assert driver.options == {"ids": (3, 4), "stale_s": 0.5}


def test_option_and_port_are_shorthands() -> None:
    command = robot("so101", "--driver=arm", "--option", "stale_s=0.5", "--port", "/dev/ttyACM0")
    assert set(command._driver_options("arm", load_robot("so101"))) == {"stale_s", "port"}
    with pytest.raises(ConfigError, match=r"^--arm\.port and --port cannot be combined$"):
        robot("so101", "--driver", "arm", "--arm.port", "a", "--port", "b").make_driver()
    with pytest.raises(ConfigError, match=r"^--arm\.stale-s and --option stale_s cannot be combined$"):
        robot("so101", "--driver", "arm", "--arm.stale-s", "1", "--option", "stale_s=2").make_driver()


def test_safety_and_governor_options_reach_the_node() -> None:
    config = robot(
        "so101", "--safety.heat-margin-k", "3", "--heat.governor.margin-k", "6", "--jpeg-quality", "70"
    ).node_config(None)
    assert config.safety.heat_margin_k == 3.0
    assert config.heat.governor is not None
    assert config.heat.governor.margin_k == 6.0
    assert config.jpeg_quality == 70
    assert robot("so101", "--no-govern").node_config(None).heat.governor is None


def test_the_same_options_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("driver: arm\narm: {ids: [5, 6]}\nsafety: {timeout_s: 0.5}\nheat: {governor: {margin_k: 7}}\n")
    command = robot("--config", str(path))
    driver: Any = command.make_driver()
    assert driver.options == {"ids": (5, 6)}
    config = command.node_config(None)
    assert config.safety.timeout_s == 0.5
    assert config.heat.governor is not None
    assert config.heat.governor.margin_k == 7


def test_an_invalid_threshold_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robot", "so101", "--safety.timeout-s", "0"]) == 2
    assert "timeout_s is 0.0, expected a finite number above 0" in " ".join(capsys.readouterr().err.split())


def test_a_simulation_has_cameras_of_the_requested_size() -> None:
    cameras = robot("so101", "--camera-size", "128", "96").make_driver().robot.cameras
    assert [(camera.name, camera.width, camera.height) for camera in cameras] == [
        ("front", 128, 96),
        ("wrist", 128, 96),
    ]
    with pytest.raises(ConfigError, match="--camera-size is not supported with --driver arm; set the size"):
        robot("so101", "--driver", "arm", "--camera-size", "128", "96").make_driver()


def test_cameras_are_added_to_the_driver(tmp_path: Path) -> None:
    video = tmp_path / "clip.avi"
    video.touch()
    driver = robot("so101", "--driver", "arm", "--camera", f"front={video}").make_driver()
    assert isinstance(driver, WithCameras)
    assert [camera.name for camera in driver.robot.cameras] == ["front"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--option", "channel=can0"), "--option is not supported with a simulation; select a hardware driver"),
        (("--port", "/dev/ttyACM0"), "--port is not supported with a simulation; select a hardware driver"),
        (("--camera", "front=0"), "--camera is not supported with a simulation; it renders its own cameras"),
        (("--camera-size", "127", "96"), "camera-size: the width is 127, expected an even number from 16 to 4096"),
        (("--camera-size", "128", "8"), "camera-size: the height is 8, expected an even number from 16 to 4096"),
    ],
)
def test_options_of_hardware_are_refused_in_a_simulation(args: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        robot("so101", *args).make_driver()


def test_the_default_task_is_one_of_the_robot() -> None:
    assert default_task("so101") == "lift"
    assert load_task(default_task("g1")).robot == "g1"
    with pytest.raises(UnknownNameError, match="unknown robot with a task 'toy'"):
        default_task("toy")


def test_a_twin_starts_at_a_temperature_in_other_air() -> None:
    command = robot("so101", "--no-cameras", "--start-temperature", "60", "--ambient", "35")
    driver = command.make_driver()
    driver.connect()
    cycle = ControlCycle(driver, command.node_config(None))
    found: list[Any] = []
    for tick in range(600):
        sensed = cycle.sense(10**18 + tick * 10**9 // 60, tick / 60)
        cycle.act(10**18 + tick * 10**9 // 60, tick / 60)
        if sensed.readings is not None:
            found.append(sensed.readings)
    np.testing.assert_allclose(found[0].winding_c, 60, atol=5)  # the filter has seen one reading
    np.testing.assert_allclose(found[-1].winding_c, 60, atol=2)
    np.testing.assert_allclose(found[-1].housing_c, 60, atol=2)
    assert {note for readings in found for note in readings.notes} == {""}
    np.testing.assert_allclose(cycle.heat.observer.mean[:, AMBIENT], 35, atol=3)
    assert driver.world.motors.ambient_c == 35  # type: ignore[attr-defined]
    driver.disconnect()


def test_without_a_start_temperature_the_motors_have_that_of_the_air() -> None:
    driver = robot("so101", "--no-cameras", "--ambient", "10").make_driver()
    np.testing.assert_array_equal(driver.motors().winding_c, 10)
    driver.disconnect()


@pytest.mark.parametrize("option", ["--start-temperature", "--ambient"])
@pytest.mark.parametrize(
    ("driver", "cause"),
    [("arm", "whose motors have their real temperature"), ("model", "which simulates no motor heat")],
)
def test_only_a_twin_can_be_heated(option: str, driver: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{option} is not supported with --driver {driver}, {cause}"):
        robot("so101", "--driver", driver, option, "60").make_driver()


@pytest.mark.parametrize("value", ["-41", "201", "nan", "inf"])
def test_an_implausible_temperature_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robot", "so101", "--start-temperature", value]) == 2
    assert capsys.readouterr().err == (f"waldo: error: --start-temperature is {float(value)}, expected -40 to 200 °C\n")


@pytest.mark.parametrize(
    ("words", "before", "expected"),
    [
        ((), None, "ASYNCHRONOUS"),
        (("--lockstep", "operator"), None, None),
        ((), "SYNCHRONOUS", "SYNCHRONOUS"),
    ],
)
def test_a_robot_in_real_time_does_not_wait_for_its_subscribers(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], before: str | None, expected: str | None
) -> None:
    class Joined(Exception):  # noqa: N818
        """The command has reached the ROS graph."""

    def join(*_: object) -> None:
        raise Joined

    variable = "RMW_FASTRTPS_PUBLICATION_MODE"
    # Set and deleted, so that the test leaves the variable as it was.
    monkeypatch.setenv(variable, before or "")
    if before is None:
        monkeypatch.delenv(variable)
    monkeypatch.setattr("waldo.ros.join_graph", join)
    monkeypatch.setattr("waldo.process.until_signaled", lambda: lambda: True)
    with pytest.raises(Joined):
        parse("robot", ["so101", "--no-cameras", *words]).run()
    assert os.environ.get(variable) == expected


def test_cameras_that_are_not_connected_are_named() -> None:
    robot = load_robot("so101")
    without = dataclasses.replace(robot, cameras=())
    front = dataclasses.replace(robot, cameras=robot.cameras[:1])
    assert missing_cameras(robot, robot) == missing_cameras(without, without) == ""
    assert missing_cameras(robot, front) == (
        "waldo: no images of wrist: connect the cameras with --camera wrist=0, or pass --no-cameras"
    )
    assert "--camera front=0 --camera wrist=1" in missing_cameras(robot, without)
