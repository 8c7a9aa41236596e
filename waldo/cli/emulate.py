"""`waldo emulate`: emulated servos on a serial port, motors on a CAN bus, or a robot on DDS, for a driver to control.

The motors are those of the robot's MuJoCo model, including their heat. They answer in the manufacturer's protocol, so a
driver, waldo's or another project's, is used unchanged.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from waldo import console
from waldo.errors import FileError, InvalidValueError, UnknownNameError, UnsupportedOptionError
from waldo.robots.description import Robot, load_robot

if TYPE_CHECKING:
    from waldo.sim.emulation.emulated_scene import EmulatedScene

EMULATED = ("feetech", "dynamixel", "damiao", "robstride", "unitree")
"""Drivers that have an emulation."""


@dataclass(frozen=True, kw_only=True)
class Emulate:
    """Emulate a robot's motors until Ctrl-C; `waldo robot` and LeRobot's programs control them like real ones."""

    robot: tyro.conf.Positional[str] = "so101"
    """so101, so101_leader (an arm that is moved gently by hand), g1, or the MJCF file of another robot."""
    driver: str = ""
    """Protocol: feetech, dynamixel, damiao, robstride or unitree. Default: depends on the robot."""
    link: Path | None = None
    """Symbolic link to create to the serial port, so that its name does not change."""
    task: str = ""
    """Task scene around a robot with serial servos, such as pick, which its cameras show; needs --driver feetech or
    dynamixel."""
    seed: int = 0
    """Seed of the scene."""
    camera_port: int = 8651
    """Port of the loopback interface on which the cameras of the scene are served as motion JPEG; 0: any free one."""
    camera_size: tuple[int, int] = (320, 240)
    """Width and height of the images [px]."""
    calibrated: bool = True
    """Start serial servos with a calibration; --no-calibrated: in their factory state."""
    rehearsal: bool = False
    """Emulate an arm in a hand that moves it through `waldo calibrate`, to try that command; serial servos only."""
    one_by_one: bool = False
    """New servos, all with the id 1, that are connected one after another, the last joint's first, as programs that set
    up motors ask for (lerobot-setup-motors); serial servos only."""
    interface: str = "udp_multicast"
    """python-can interface of a CAN bus, such as socketcan with --channel vcan0; network interface for DDS (lo)."""
    channel: str = "239.74.163.2"
    """python-can channel of a CAN bus."""
    domain: int = 0
    """DDS domain."""
    controller: str = ""
    """Unitree robots: the robot's own controller that is active at the start, such as ai; by default none."""

    def run(self) -> int:
        """Run until SIGINT or SIGTERM."""
        from waldo.process import until_signaled

        done = until_signaled()
        robot = load_robot(self.robot)
        driver = self.driver or ("unitree" if robot.name.startswith("g1") else "feetech")
        if driver not in EMULATED:
            raise UnknownNameError("emulation", driver, EMULATED)
        with contextlib.ExitStack() as stack:
            message = self._start(robot, driver, stack)
            console.err().print(message, markup=False, soft_wrap=True)
            while not done():
                time.sleep(0.1)
        return 0

    def _start(self, robot: Robot, driver: str, stack: contextlib.ExitStack) -> str:
        """Start the emulation and return how to connect to it."""
        if self.rehearsal and driver not in ("feetech", "dynamixel"):
            raise UnsupportedOptionError("--rehearsal", f"--driver {driver}", ("feetech", "dynamixel"))
        if self.one_by_one and driver not in ("feetech", "dynamixel"):
            raise UnsupportedOptionError("--one-by-one", f"--driver {driver}", ("feetech", "dynamixel"))
        if self.task and (self.rehearsal or driver not in ("feetech", "dynamixel")):
            setting = "--rehearsal" if self.rehearsal else f"--driver {driver}"
            raise UnsupportedOptionError("--task", setting, ("feetech", "dynamixel"))
        if driver == "unitree":
            return self._start_unitree(robot, stack)
        if driver in ("damiao", "robstride"):
            stack.enter_context(self._can(robot, driver))
            return (
                f"{robot.name}'s motors are on {self.interface}:{self.channel}; connect with: waldo robot {self.robot} "
                f"--driver {driver} --option interface={self.interface} --option channel={self.channel}"
            )
        return self._start_servos(robot, driver, stack)

    def _start_unitree(self, robot: Robot, stack: contextlib.ExitStack) -> str:
        from waldo.sim.emulation.unitree import EmulatedUnitree

        interface = "lo" if self.interface == "udp_multicast" else self.interface
        stack.enter_context(EmulatedUnitree(robot, self.domain, interface, rate_hz=500.0, controller=self.controller))
        return (
            f"{robot.name} is on DDS domain {self.domain}, interface {interface}; connect with: waldo robot "
            f"{self.robot} --driver unitree --option domain={self.domain} --option interface={interface}"
        )

    def _start_servos(self, robot: Robot, driver: str, stack: contextlib.ExitStack) -> str:
        from waldo.sim.emulation.dynamixel import DynamixelServos
        from waldo.sim.emulation.emulated_joints import EmulatedJoints
        from waldo.sim.emulation.emulated_leader import EmulatedLeader
        from waldo.sim.emulation.feetech import FeetechServos
        from waldo.sim.emulation.rehearsal import CalibrationHand

        leader = all(joint.effort == 0 for joint in robot.joints)
        servo_class = FeetechServos if driver == "feetech" else DynamixelServos
        scene = self._scene(robot, stack) if self.task else None
        joints = scene or (EmulatedLeader(robot) if leader or self.rehearsal else EmulatedJoints(robot))
        servos = servo_class(joints, calibrated=self.calibrated and not self.one_by_one, one_by_one=self.one_by_one)
        if isinstance(joints, EmulatedLeader) and self.rehearsal:
            joints.path = CalibrationHand(robot, lambda: servos.is_centered)
        stack.enter_context(servos)
        port = servos.port
        if self.link is not None:
            _link(self.link, port)
            stack.callback(self.link.unlink, missing_ok=True)
            port = str(self.link)
        if self.one_by_one:
            command = f"lerobot-setup-motors --robot.type=so101_follower --robot.port={port}"
        elif self.rehearsal:
            command = f"waldo calibrate {self.robot} --driver {driver} --port {port}"
        elif leader:
            option = "" if driver == "feetech" else f" --option driver={driver}"
            command = f"waldo teleop leader --port {port}{option}"
        else:
            command = f"waldo robot {self.robot} --driver {driver} --port {port}"
        if scene is not None:
            command += "".join(f" --camera {name}={url}" for name, url in scene.urls.items())
            command += f'\nin front of it: {self.task}, seed {self.seed}; the goal: "{scene.instruction}"'
        return f"{robot.name}'s servos are on {port}; connect with: {command}"

    def _scene(self, robot: Robot, stack: contextlib.ExitStack) -> EmulatedScene:
        from waldo.sim.emulation.emulated_scene import EmulatedScene

        def on_reached() -> None:
            console.err().print(f"reached: {scene.instruction}", markup=False)

        scene = EmulatedScene(
            robot,
            self.task,
            seed=self.seed,
            camera_port=self.camera_port,
            camera_size=self.camera_size,
            on_reached=on_reached,
        )
        return stack.enter_context(scene)

    def _can(self, robot: Robot, driver: str) -> Any:
        """Return emulated motors on an open CAN bus."""
        import can

        from waldo.robots.drivers.mit import Range
        from waldo.robots.drivers.robstride import RANGES
        from waldo.sim.emulation.can_bus import DamiaoMotors, RobStrideMotors
        from waldo.sim.emulation.emulated_joints import EmulatedJoints

        ids = range(1, len(robot.joints) + 1)
        bus = can.Bus(interface=self.interface, channel=self.channel)
        if driver == "damiao":
            efforts = [max(1.0, joint.effort) for joint in robot.joints]
            ranges = [Range(position_rad=12.5, velocity_rad_s=30, torque_nm=effort) for effort in efforts]
            return DamiaoMotors(EmulatedJoints(robot), bus, ids, ranges)
        names = [joint.motor.name for joint in robot.joints]
        if unknown := sorted({name for name in names if name not in RANGES}):
            bus.shutdown()
            expected = f"a robot whose motors are all among {', '.join(RANGES)}"
            raise InvalidValueError("robot", f"{self.robot} with {', '.join(unknown)}", expected)
        return RobStrideMotors(EmulatedJoints(robot), bus, ids, [RANGES[name] for name in names])


def _link(path: Path, port: str) -> None:
    """Create a symbolic link to a port; an old link is replaced."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise FileError(path, "exists and is not a symbolic link", "choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(port)
