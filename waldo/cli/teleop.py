"""`waldo teleop` commands a robot with a teleoperation device."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waldo.collect.devices.scripted import ScriptOptions
from waldo.errors import InvalidValueError

if TYPE_CHECKING:
    from waldo.collect.devices.device import Device
    from waldo.robots.description import Robot


@dataclass(frozen=True, kw_only=True)
class Teleop:
    """Drive a robot on the ROS graph with the keyboard, a gamepad, a headset, a leader arm or a scripted operator.

    Any machine on the network can command a robot: docs/guide/securing-dds.md explains how to restrict that.
    """

    device: tyro.conf.Positional[str] = "keyboard"
    """Device: keyboard, gamepad, headset (tracked hands), spacemouse, leader (an arm), lerobot (any of LeRobot's
    teleoperators), replay (a recorded episode), script (a scripted operator of a simulation), or one that another
    package registers."""
    port: str = ""
    """Serial port of a leader arm, such as /dev/ttyACM1; short for --option port=..."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An option of the device as name=value: --option driver=dynamixel, --option type=so101_leader,
    --option speed_ratio=0.1."""
    rate: int = 60
    """Commands per second; in simulated time, the rate of the simulation [Hz]."""
    robot: str = "so101"
    """Name of the robot."""
    namespace: str = ""
    """ROS namespace of the robot; by default its name."""
    script: ScriptOptions = field(default_factory=ScriptOptions)
    """Options of the scripted operator."""
    lockstep: int = 0
    """Simulated time: number of nodes that must receive each command (2 for robot and recorder); 0 for real time."""

    def __post_init__(self) -> None:
        """Validate the rate."""
        if not 20 <= self.rate <= 1000:
            raise InvalidValueError("rate", self.rate, "20 to 1000 commands per second")

    def run(self) -> int:
        """Run until the device is finished, SIGINT or SIGTERM."""
        from waldo.cli.support.operator_display import OperatorDisplay
        from waldo.collect.teleop.node import TeleopNode
        from waldo.process import until_signaled
        from waldo.robots.description import load_robot
        from waldo.ros import join_graph

        done = until_signaled()
        robot = load_robot(self.robot)
        device = self.make_device(robot)
        display = OperatorDisplay()
        display.usage(getattr(device, "usage", ""))
        try:
            with join_graph("teleop", self.namespace or robot.name) as graph:
                TeleopNode(
                    graph,
                    device,
                    robot.joint_names,
                    lockstep=self.lockstep,
                    rate_hz=self.rate,
                    notify=display.notice,
                    on_condition=display.condition,
                ).run(done)
        finally:
            display.close()
        return 0 if device.finished else 130

    def make_device(self, robot: Robot) -> Device:
        """Return the device with its options."""
        from waldo.collect.devices.device import make_device, parse_device_options

        options: dict[str, Any] = asdict(self.script) if self.device == "script" else {}
        options |= parse_device_options(self.device, self.option) | ({"port": self.port} if self.port else {})
        return make_device(self.device, robot, **options)
