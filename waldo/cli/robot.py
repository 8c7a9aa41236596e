"""`waldo robot` runs a robot node; `waldo motors` prints the motor library."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import tyro

from waldo import console
from waldo.cli.support.config import load_yaml
from waldo.errors import (
    ConflictingOptionsError,
    FileError,
    InvalidValueError,
    MissingOptionError,
    UnsupportedOptionError,
)
from waldo.robots.control.safety import SafetyConfig
from waldo.robots.thermal.monitor import MonitorConfig

if TYPE_CHECKING:
    from waldo.collect.devices.device import Device
    from waldo.collect.teleop.local import LocalTeleop
    from waldo.robots.description import Robot
    from waldo.robots.driver import Driver
    from waldo.robots.node import NodeConfig
    from waldo.ros import Graph

SIMULATIONS = ("twin", "model")
"""Drivers that simulate the robot."""

MIN_PIXELS, MAX_PIXELS = 16, 4096
"""Width and height that the images of a simulation may have [px]."""

LOWEST_C, HIGHEST_C = -40.0, 200.0
"""Temperatures that a twin may start at [°C]."""


@dataclass(frozen=True, kw_only=True)
class RobotCommand:
    """Run a robot on the ROS graph: its simulated twin, or real hardware through another driver."""

    tyro_config: ClassVar[tuple[Any, ...]] = (tyro.conf.AvoidSubcommands,)
    driver_field: ClassVar[str] = ""

    robot: tyro.conf.Positional[str] = "so101"
    """Robot: so101, bi_so101 (two arms), openarm_left, openarm_right, bi_openarm, vx300s, aloha (two vx300s), g1,
    g1_dex3 or g1_inspire (with hands), an MJCF or URDF file, or a model of MuJoCo Menagerie (menagerie:unitree_g1)."""
    driver: str = ""
    """Driver: twin simulates the robot in a task scene, model simulates the robot alone; the default depends on the
    robot. Others control hardware; with --help, their options are listed."""
    task: str = ""
    """Task scene of the twin; by default the first one of the robot."""
    port: str = ""
    """Serial port of a robot with serial servos, such as /dev/ttyACM0."""
    rate: int = 60
    """Control cycles per second of a real robot."""
    namespace: str = ""
    """ROS namespace; the robot's name by default. Several robots need different ones. Any machine of the subnet can
    command a robot: docs/guide/securing-dds.md explains how to restrict that."""
    cameras: bool = True
    """Render and publish the cameras."""
    lockstep: tuple[str, ...] = ()
    """Simulated time on /clock that waits for these processes: operator, recorder. Empty for real time."""
    seed: int = 0
    """Seed of the first scene; each reset uses the next one."""
    goals: int = 1
    """Goals that are pursued one after another in each scene of the twin, each in an episode of its own."""
    camera_size: tuple[int, int] | None = None
    """Width and height of a simulation's images [px], such as 128 96; those of the robot's cameras by default."""
    start_temperature: float | None = None
    """Temperature of the twin's motors at the start [°C], to try the dashboard and the governor; ambient by default."""
    ambient: float | None = None
    """Ambient temperature of the twin [°C]; 25 by default."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Driver option as name=value, such as --option channel=can0; repeatable. An option of one of two arms is preceded
    by the arm's name: --option left.port=/dev/ttyACM0 --option right.port=/dev/ttyACM1."""
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Camera of a real robot as name=source, such as --camera front=0, wrist=realsense:SERIAL or a video file;
    repeatable."""
    device: str = ""
    """Teleoperation device in this process, such as leader: the robot follows it in the cycle in which it was read, a
    few milliseconds sooner than with waldo teleop. By default commands come as messages only."""
    device_option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Option of the device as name=value, such as --device-option port=/dev/ttyACM1; repeatable."""
    jpeg_quality: int = 90
    """JPEG quality of the published images, 1 to 100; images that a camera delivers as JPEG are passed through."""
    motors: Path | None = None
    """File of motor constants from `waldo identify`; those of the motor library by default."""
    heat_state: Path | None = None
    """File that stores the motors' heat across restarts; in the user's state folder for a real robot by default."""
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    """Thresholds of the safety chain."""
    heat: MonitorConfig = field(default_factory=MonitorConfig)
    """Monitoring of the motors' heat, and the governor that slows the robot down before a limit."""
    govern: bool = True
    """Slow the robot down before a motor reaches its heat limit; without it the robot holds at the limit."""

    def __post_init__(self) -> None:
        """Check the temperatures."""
        for option, value in self._temperatures().items():
            if not LOWEST_C <= value <= HIGHEST_C:
                raise InvalidValueError(option, value, f"{LOWEST_C:g} to {HIGHEST_C:g} °C")

    def _temperatures(self) -> dict[str, float]:
        """Return option -> temperature, for those that are given [°C]."""
        given = {"--start-temperature": self.start_temperature, "--ambient": self.ambient}
        return {option: value for option, value in given.items() if value is not None}

    @classmethod
    def for_arguments(cls, args: Sequence[str], config: Path | None = None) -> type[Self]:
        """Return the command with the options of the driver that `--driver` or the YAML file selects."""
        driver = _selected_driver(args, config)
        options = _options_class(driver) if driver else None
        if options is None:
            return cls
        name = driver.replace("-", "_")
        if name in {one.name for one in dataclasses.fields(cls)}:
            name += "_options"
        return dataclasses.make_dataclass(
            cls.__name__,
            [(name, options, field(default_factory=options))],
            bases=(cls,),
            namespace={"driver_field": name, "__doc__": cls.__doc__},
            frozen=True,
            kw_only=True,
            module=cls.__module__,
        )

    def run(self) -> int:
        """Run until SIGINT or SIGTERM."""
        from waldo.process import until_signaled
        from waldo.robots.driver import SimulatedDriver
        from waldo.robots.node import RobotNode
        from waldo.robots.thermal.state_file import state_path
        from waldo.ros import join_graph, publish_asynchronously

        done = until_signaled()
        if not self.lockstep:
            publish_asynchronously()
        driver, described = self.make_driver(), self._load_robot()
        namespace = self.namespace or driver.robot.name
        state = self.heat_state or (None if isinstance(driver, SimulatedDriver) else state_path(namespace))
        device = self.make_device(driver.robot)
        driver.connect()
        missing = "" if isinstance(driver, SimulatedDriver) else missing_cameras(described, driver.robot)
        if missing:
            console.err().print(missing, markup=False, soft_wrap=True)
        try:
            with join_graph("robot", namespace) as graph, contextlib.ExitStack() as stack:
                operator = None if device is None else stack.enter_context(self._operator(graph, device, driver.robot))
                node = RobotNode(graph, driver, self.node_config(state), operator)
                node.run(lambda: done() or (operator is not None and operator.finished))
        finally:
            driver.disconnect()
        return 0

    def make_device(self, robot: Robot) -> Device | None:
        """Return the device that shares this process, not yet open; None if there is none."""
        from waldo.collect.devices.device import make_device, parse_device_options

        if not self.device:
            if self.device_option:
                raise MissingOptionError("--device-option", "--device")
            return None
        if self.lockstep:
            raise ConflictingOptionsError("--device", "--lockstep", "run the device with waldo teleop")
        return make_device(self.device, robot, **parse_device_options(self.device, self.device_option))

    def _operator(self, graph: Graph, device: Device, robot: Robot) -> LocalTeleop:
        """Return the device as an operator in this process."""
        from waldo.cli.support.notices import show_notices
        from waldo.collect.teleop.local import LocalTeleop

        if usage := getattr(device, "usage", ""):
            console.err().print(usage, markup=False)
        return LocalTeleop(graph, device, robot, period_s=1 / self.rate, notify=show_notices(""))

    def node_config(self, heat_state: Path | None) -> NodeConfig:
        """Return the options of the robot node."""
        from waldo.robots.node import NodeConfig

        heat = self.heat if self.govern else dataclasses.replace(self.heat, governor=None)
        given = {"start_c": self.start_temperature, "ambient_c": self.ambient}
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        heat = dataclasses.replace(heat, observer=dataclasses.replace(heat.observer, **known))
        return NodeConfig(
            rate_hz=self.rate,
            lockstep=self.lockstep,
            seed=self.seed,
            jpeg_quality=self.jpeg_quality,
            safety=self.safety,
            heat=heat,
            heat_state=heat_state,
        )

    def make_driver(self) -> Driver:
        """Return the driver with its options and cameras, not yet connected."""
        from waldo.robots.cameras.rig import WithCameras, parse_cameras
        from waldo.robots.drivers.parts import make_driver

        robot = self._load_robot()
        name = self.driver or _simulation_of(robot)
        options = self._driver_options(name, robot)
        if self.camera and name in SIMULATIONS:
            raise UnsupportedOptionError("--camera", "a simulation", do="it renders its own cameras")
        if self.camera_size is not None:
            if name not in SIMULATIONS:
                raise UnsupportedOptionError("--camera-size", f"--driver {name}", do="set the size in the camera")
            robot = resize_cameras(robot, *self.camera_size)
        sources = parse_cameras(self.camera, robot)
        driver = make_driver(name, robot, options)
        return WithCameras(driver, sources, robot.cameras) if sources else driver

    def _load_robot(self) -> Robot:
        from waldo.robots.description import load_robot
        from waldo.robots.thermal import constants_file

        robot = load_robot(self.robot)
        if not self.cameras:
            robot = dataclasses.replace(robot, cameras=())
        return robot if self.motors is None else constants_file.apply(self.motors, robot)

    def _driver_options(self, name: str, robot: Robot) -> dict[str, Any]:
        """Return the driver's options: those that differ from their defaults, --option and --port."""
        from waldo.robots.drivers.options import convert_options, split_options
        from waldo.robots.drivers.parts import option_classes

        if (self.option or self.port) and name in SIMULATIONS:
            option = "--option" if self.option else "--port"
            raise UnsupportedOptionError(option, "a simulation", do="select a hardware driver with --driver")
        if name != "twin" and self.goals != 1:
            raise UnsupportedOptionError("--goals", f"--driver {name}", do="leave it out")
        if name != "twin" and (given := self._temperatures()):
            cause = "which simulates no motor heat" if name == "model" else "whose motors have their real temperature"
            do = "leave it out, or simulate the robot with --driver twin"
            raise UnsupportedOptionError(next(iter(given)), f"--driver {name}, {cause}", do=do)
        typed: dict[str, Any] = {}
        if self.driver_field:
            options = getattr(self, self.driver_field)
            default = type(options)()
            typed = {
                one.name: getattr(options, one.name)
                for one in dataclasses.fields(options)
                if getattr(options, one.name) != getattr(default, one.name)
            }
        texts = split_options(self.option)
        shorthand = convert_options(texts, *option_classes(name, robot, texts))
        shorthand |= {"port": self.port} if self.port else {}
        if twice := sorted(typed.keys() & shorthand.keys()):
            flag = "--port" if twice[0] == "port" and self.port else f"--option {twice[0]}"
            raise ConflictingOptionsError(f"--{self.driver_field}.{twice[0].replace('_', '-')}", flag)
        scene: dict[str, Any] = {}
        if name == "twin":
            from waldo.sim.tasks.task import default_task

            scene = {"task": self.task or default_task(robot.name), "seed": self.seed, "goals": self.goals}
            if self.start_temperature is not None:
                scene["start_c"] = self.start_temperature
            if self.ambient is not None:
                scene["ambient_c"] = self.ambient
        return {**scene, **typed, **shorthand}


def missing_cameras(described: Robot, connected: Robot) -> str:
    """Return a notice on cameras of the description that the connected robot does not have; empty if there are none."""
    present = {camera.name for camera in connected.cameras}
    missing = [camera.name for camera in described.cameras if camera.name not in present]
    if not missing:
        return ""
    examples = " ".join(f"--camera {name}={number}" for number, name in enumerate(missing))
    return f"waldo: no images of {', '.join(missing)}: connect the cameras with {examples}, or pass --no-cameras"


def _simulation_of(robot: Robot) -> str:
    """Return the driver that simulates a robot: in a task scene if it has a task, otherwise alone."""
    from waldo.sim.tasks.task import load_task, task_names

    return "twin" if any(load_task(task).robot == robot.name for task in task_names()) else "model"


def resize_cameras(robot: Robot, width: int, height: int) -> Robot:
    """Return a robot whose cameras have images of another size.

    Raises:
        InvalidValueError: If a number is odd, or smaller or larger than a codec supports.
    """
    for name, value in (("width", width), ("height", height)):
        if value % 2 or not MIN_PIXELS <= value <= MAX_PIXELS:
            expected = f"an even number from {MIN_PIXELS} to {MAX_PIXELS}"
            raise InvalidValueError(f"camera-size: the {name}", value, expected)
    cameras = tuple(dataclasses.replace(camera, width=width, height=height) for camera in robot.cameras)
    return dataclasses.replace(robot, cameras=cameras)


def _selected_driver(args: Sequence[str], config: Path | None) -> str:
    """Return the driver that the arguments or the YAML file select; empty if none."""
    selected = ""
    if config is not None and config.is_file():
        with contextlib.suppress(FileError):  # Reported when the file is loaded.
            selected = str(load_yaml(config)[0].get("driver", ""))
    for at, word in enumerate(args):
        if word.startswith("--driver="):
            selected = word.removeprefix("--driver=")
        elif word == "--driver" and at + 1 < len(args):
            selected = args[at + 1]
    return selected


def _options_class(driver: str) -> type | None:
    """Return the dataclass of a driver's options; None if it has none or is not installed."""
    from waldo import registry
    from waldo.robots.drivers.options import options_class

    # An unknown driver is reported when it is loaded.
    return options_class(driver) if driver in registry.entries("waldo.drivers") else None


@dataclass(frozen=True, kw_only=True)
class Motors:
    """Print the motor library: each constant with unit, uncertainty, basis and source; unpublished ones are marked."""

    name: Annotated[str, tyro.conf.Positional] = ""
    """Name of one motor. Default: all motors."""

    def run(self) -> int:
        """Print one table per motor."""
        from rich.table import Table

        from waldo.robots.motors.library import MOTORS, load_motor

        for key in [self.name] if self.name else list(MOTORS):
            motor = load_motor(key)
            title = f"{key}: {motor.name}"
            table = Table("constant", "value", "unit", "basis", "source", title=title, title_justify="left")
            table.columns[-1].overflow = "fold"
            for name, constant in motor.constants().items():
                if constant is None:
                    table.add_row(name, "not published", "", "", "")
                    continue
                value = f"{constant.value:g} ±{constant.relative_std:.0%}"
                table.add_row(name, value, constant.unit, constant.basis, constant.source)
            if motor.thermal is not None:
                source = motor.thermal.source
                for name, constant in motor.thermal.constants().items():
                    value = f"{constant.value:g} ±{constant.relative_std:.0%}"
                    table.add_row(name, value, constant.unit, constant.basis, source)
                    source = "as above"
            console.out().print(table)
        return 0
