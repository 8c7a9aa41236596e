"""`waldo emulate` gives a robot's driver what it wants: servos on a serial port, motors on a CAN bus, a robot on DDS.

The motors are those of the robot's MuJoCo model and get warm; a driver, waldo's or another's, cannot tell the
difference from the frames.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from waldo import console
from waldo.errors import FileError, InvalidValueError, UnknownNameError
from waldo.robots.description import Robot, load_robot
from waldo.sim.emulation.emulated_joints import EmulatedJoints

EMULATED = ("feetech", "dynamixel", "damiao", "robstride", "unitree")
"""Drivers for which there is an emulation."""


@dataclass(frozen=True, kw_only=True)
class Emulate:
    """Emulate a robot's motors until Ctrl-C: `waldo robot` and LeRobot's programs drive them as they would the real."""

    robot: tyro.conf.Positional[str] = "so101"
    """so101, so101_leader (an arm that a hand swings gently), g1, or the MJCF file of another robot."""
    driver: str = ""
    """What it speaks: feetech, dynamixel, damiao, robstride or unitree; chosen by the robot's name."""
    link: Path | None = None
    """Make this a link to the serial port, so that its name stays the same."""
    calibrated: bool = True
    """Serial servos know their joints' ends; --no-calibrated: as they come from the factory."""
    interface: str = "udp_multicast"
    """python-can's interface of a CAN bus; socketcan with a channel of vcan0 where there is one. DDS: lo."""
    channel: str = "239.74.163.2"
    """Its channel."""
    domain: int = 0
    """DDS domain."""

    def run(self) -> int:
        """Run until SIGINT or SIGTERM."""
        from waldo.process import until_signaled

        done = until_signaled()
        robot = load_robot(self.robot)
        driver = self.driver or ("unitree" if robot.name == "g1" else "feetech")
        if driver not in EMULATED:
            raise UnknownNameError("emulation", driver, EMULATED)
        with contextlib.ExitStack() as stack:
            said = self._start(robot, driver, stack)
            console.err().print(said, markup=False, soft_wrap=True)
            while not done():
                time.sleep(0.1)
        return 0

    def _start(self, robot: Robot, driver: str, stack: contextlib.ExitStack) -> str:
        """Start the emulation; return how to reach it."""
        if driver == "unitree":
            from waldo.sim.emulation.unitree import EmulatedUnitree

            where = "lo" if self.interface == "udp_multicast" else self.interface
            stack.enter_context(EmulatedUnitree(robot, self.domain, where, rate_hz=500.0))
            return (
                f"{robot.name} speaks on DDS domain {self.domain}, interface {where}: waldo robot {self.robot} "
                f"--driver unitree --option domain={self.domain} --option interface={where}"
            )
        if driver in ("damiao", "robstride"):
            stack.enter_context(self._can(robot, driver))
            return (
                f"{robot.name}'s motors listen on {self.interface}:{self.channel}: waldo robot {self.robot} --driver "
                f"{driver} --option interface={self.interface} --option channel={self.channel}"
            )
        from waldo.sim.emulation.dynamixel import DynamixelServos
        from waldo.sim.emulation.emulated_leader import EmulatedLeader
        from waldo.sim.emulation.feetech import FeetechServos

        led = all(joint.effort == 0 for joint in robot.joints)
        kind = FeetechServos if driver == "feetech" else DynamixelServos
        servos = kind(EmulatedLeader(robot) if led else EmulatedJoints(robot), calibrated=self.calibrated)
        stack.enter_context(servos)
        port = servos.port
        if self.link is not None:
            _link(self.link, port)
            stack.callback(self.link.unlink, missing_ok=True)
            port = str(self.link)
        if led:
            which = "" if driver == "feetech" else f" --option driver={driver}"
            use = f"waldo teleop leader --port {port}{which}"
        else:
            use = f"waldo robot {self.robot} --driver {driver} --port {port}"
        return f"{robot.name}'s servos listen on {port}: {use}"

    def _can(self, robot: Robot, driver: str) -> Any:
        """Return emulated motors on an open CAN bus."""
        import can

        from waldo.robots.drivers.mit import Range
        from waldo.robots.drivers.robstride import RANGES
        from waldo.sim.emulation.can_bus import DamiaoMotors, RobStrideMotors

        ids = range(1, len(robot.joints) + 1)
        bus = can.Bus(interface=self.interface, channel=self.channel)
        if driver == "damiao":
            efforts = [max(1.0, joint.effort) for joint in robot.joints]
            return DamiaoMotors(
                EmulatedJoints(robot),
                bus,
                ids,
                [Range(position_rad=12.5, velocity_rad_s=30, torque_nm=e) for e in efforts],
            )
        names = [joint.motor.name for joint in robot.joints]
        if unknown := [name for name in names if name not in RANGES]:
            bus.shutdown()
            raise InvalidValueError("robot", ", ".join(sorted(set(unknown))), f"motors of {', '.join(RANGES)}")
        return RobStrideMotors(EmulatedJoints(robot), bus, ids, [RANGES[name] for name in names])


def _link(path: Path, port: str) -> None:
    """Make a link to a port, in place of an old one."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise FileError(path, "a file that is no link", "name another one")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(port)
