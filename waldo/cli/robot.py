"""`waldo robot` runs a robot node; `waldo motors` prints the motor library."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from waldo import console
from waldo.errors import InvalidValueError


@dataclass(frozen=True, kw_only=True)
class RobotCommand:
    """Run a robot on the ROS graph: its simulated twin, or real hardware through another driver."""

    robot: tyro.conf.Positional[str] = "so101"
    """so101 or g1; or, alone in a simulation, an MJCF file or a model of MuJoCo Menagerie (menagerie:unitree_g1)."""
    driver: str = ""
    """What moves: twin, a task's simulation, or model, a simulation of the robot alone; chosen by the robot's name."""
    task: str = "lift"
    """Task whose world the twin simulates."""
    port: str = ""
    """Serial port of a robot of serial servos: /dev/ttyACM0."""
    rate: int = 60
    """Control cycles a second of a real robot."""
    namespace: str = ""
    """ROS namespace; the robot's name unless given."""
    cameras: bool = True
    """Render and publish the cameras."""
    lockstep: tuple[str, ...] = ()
    """Simulated time on /clock that waits for these: operator, recorder. Empty: real time."""
    seed: int = 0
    """Seed of the first world; each reset takes the next one."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An option of the driver as name=value, such as --option channel=can0; may be given several times."""
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A camera beside a real robot as name=source, such as --camera front=0 or wrist=realsense:SERIAL; also a video."""
    motors: Path | None = None
    """Constants that `waldo identify` found of this robot's own motors; those of the library unless given."""
    heat_state: Path | None = None
    """File in which the motors' heat survives a restart; a real robot has one of its own in the user's state folder."""

    def run(self) -> int:
        """Run until SIGINT or SIGTERM."""
        from waldo.process import until_signalled
        from waldo.robots.cameras.rig import WithCameras, parse_cameras
        from waldo.robots.description import load_robot, presets
        from waldo.robots.driver import SimulatedDriver, load_driver
        from waldo.robots.drivers.options import parse_options
        from waldo.robots.node import NodeConfig, RobotNode
        from waldo.robots.thermal import constants_file
        from waldo.robots.thermal.state_file import state_path
        from waldo.ros import join_graph

        done = until_signalled()
        name = self.driver or ("twin" if self.robot in presets() else "model")
        driver_class = load_driver(name)
        robot = load_robot(self.robot)
        if not self.cameras:
            robot = dataclasses.replace(robot, cameras=())
        options: dict[str, Any] = {"task": self.task, "seed": self.seed} if name == "twin" else {}
        simulated = name in ("twin", "model")
        given = parse_options(self.option) | ({"port": self.port} if self.port else {})
        if given and simulated:
            raise InvalidValueError(
                "option", " ".join(given), "nothing for a simulation", "name the driver of a real robot"
            )
        options |= given
        if self.camera and simulated:
            raise InvalidValueError(
                "camera", " ".join(self.camera), "nothing for a simulation", "it draws its own cameras"
            )
        if self.motors is not None:
            robot = constants_file.apply(self.motors, robot)
        sources = parse_cameras(", ".join(self.camera), robot)
        driver = driver_class(robot, **options)
        if sources:
            driver = WithCameras(driver, sources, robot.cameras)
        state = self.heat_state or (
            None if isinstance(driver, SimulatedDriver) else state_path(self.namespace or robot.name)
        )
        config = NodeConfig(rate_hz=self.rate, lockstep=self.lockstep, seed=self.seed, heat_state=state)
        driver.connect()
        try:
            with join_graph("robot", self.namespace or robot.name) as graph:
                RobotNode(graph, driver, config).run(done)
        finally:
            driver.disconnect()
        return 0


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
                    table.add_row(name, f"{constant.value:g}", constant.unit, constant.basis, source)
                    source = "as above"
            console.out().print(table)
        return 0
