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
        from waldo.robots.drivers.options import options_class, parse_options, split_options
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
        if (self.option or self.port) and simulated:
            given = [*split_options(self.option), *(["port"] if self.port else [])]
            raise InvalidValueError(
                "option", " ".join(given), "nothing for a simulation", "name the driver of a real robot"
            )
        options |= parse_options(self.option, options_class(name)) | ({"port": self.port} if self.port else {})
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
    """Print the motor library: each value with its unit and source, and what nobody has published."""

    name: Annotated[str, tyro.conf.Positional] = ""
    """One motor's name; all of them unless given."""

    def run(self) -> int:
        """Print one table a motor."""
        from rich.table import Table

        from waldo.robots.motors.library import MOTORS, load_motor

        for key in [self.name] if self.name else list(MOTORS):
            motor = load_motor(key)
            table = Table("value", "figure", "source", title=f"{key}: {motor.name}", title_justify="left")
            table.columns[2].overflow = "fold"
            for field in dataclasses.fields(motor):
                value = getattr(motor, field.name)
                if field.name in ("name", "sources", "uncertainty", "thermal"):
                    continue
                std = motor.relative_std(field.name)
                figure = "not published" if value is None else f"{value:g} ±{std:.0%}"
                table.add_row(field.name, figure, motor.sources.get(field.name, ""))
            if motor.thermal is not None:
                for field in dataclasses.fields(motor.thermal)[:4]:
                    source = f"{motor.thermal.basis}: {motor.thermal.source}"
                    table.add_row(field.name, format(getattr(motor.thermal, field.name), "g"), source)
            console.out().print(table)
        return 0
