"""`waldo emulate`: emulated servos on a serial port, motors on a CAN bus, or a robot on DDS, for a driver to control.

The motors are those of the robot's MuJoCo model, including their heat. They answer in the manufacturer's protocol, so a
driver, waldo's or another project's, is used unchanged.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from waldo import console
from waldo.errors import (
    ConflictingOptionsError,
    FileError,
    HardwareError,
    InvalidValueError,
    UnknownNameError,
    UnsupportedOptionError,
)
from waldo.robots.description import Robot

if TYPE_CHECKING:
    from waldo.sim.emulation.dynamixel import DynamixelServos
    from waldo.sim.emulation.emulated_robot import EmulatedRobot
    from waldo.sim.emulation.emulated_scene import EmulatedScene
    from waldo.sim.emulation.feetech import FeetechServos
    from waldo.sim.emulation.joints import Joints
    from waldo.typing import Array

SERIAL = ("feetech", "dynamixel")
"""Drivers of serial servos."""
FIRST_PORT = 43114
"""Port of the first of several buses of udp_multicast; python-can's default for a single one is 43113."""
EMULATED = (*SERIAL, "damiao", "robstride", "unitree")
"""Drivers that have an emulation."""


@dataclass(frozen=True, kw_only=True)
class Emulate:
    """Emulate a robot's motors until Ctrl-C; `waldo robot` and LeRobot's programs control them like real ones."""

    robot: tyro.conf.Positional[str] = "so101"
    """so101, bi_so101, vx300s, aloha, openarm_left, openarm_right, bi_openarm, g1, g1_dex3, g1_inspire, or the MJCF
    file of another robot; koch, omx or robstride_arm (real motors and ids, a simple model); so101_leader,
    bi_so101_leader, vx300s_leader, aloha_leader, koch_leader or omx_leader (arms that are moved gently by hand); motors
    (those of --motors, side by side, that turn without limits)."""
    driver: str = ""
    """Protocol: feetech, dynamixel, damiao, robstride or unitree. Default: depends on the robot."""
    motors: tuple[str, ...] = ()
    """Motor of each joint, or one for all, such as xl430-w250, sts3250, dm4340 or rs02."""
    ids: tuple[int, ...] = ()
    """Id of each motor; 1, 2, 3 ... or those of the robot by default."""
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
    """Emulate an arm in a hand that moves it through `waldo calibrate` or lerobot-calibrate; serial servos only."""
    hand: str = ""
    """Emulate an arm in a hand that moves it along a CSV file (time_s [s], then a column per joint [rad]), or that the
    keys of this terminal move: keys; commands have no effect."""
    one_by_one: bool = False
    """New servos, all with the id 1, that are connected one after another, the last joint's first, as programs that set
    up motors ask for (lerobot-setup-motors); serial servos only."""
    interface: str = "udp_multicast"
    """python-can interface of a CAN bus, such as socketcan with --channel vcan0; network interface for DDS (lo)."""
    channel: str = "239.74.163.2"
    """python-can channel of a CAN bus; one for each arm of a pair: vcan0,vcan1."""
    domain: int = 0
    """DDS domain."""
    controller: str = ""
    """Unitree robots: the robot's own controller that is active at the start, such as ai; by default none."""

    def run(self) -> int:
        """Run until SIGINT or SIGTERM."""
        from waldo.process import until_signaled

        done, failures = until_signaled(), list[threading.ExceptHookArgs]()
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, threading, "excepthook", threading.excepthook)
            threading.excepthook = failures.append
            message = self._start(stack)
            console.err().print(message, markup=False, soft_wrap=True)
            while not (done() or failures):
                time.sleep(0.1)
        if failures and (error := failures[0].exc_value) is not None:
            # A thread of the emulation: without it, nothing answers any more.
            raise error
        return 0

    def _start(self, stack: contextlib.ExitStack) -> str:
        """Start the emulation and return how to connect to it."""
        from waldo.sim.emulation.emulated_robot import load_emulated

        robot = load_emulated(self.robot, self.driver, self.motors, self.ids)
        if robot.driver not in EMULATED:
            raise UnknownNameError("emulation", robot.driver, EMULATED)
        self._check(robot.driver)
        if robot.driver == "unitree":
            return self._start_unitree(robot.robot, stack)
        if robot.parts:
            return self._start_parts(robot, stack)
        if robot.driver in ("damiao", "robstride"):
            return self._start_can(robot, stack)
        return self._start_servos(robot, stack)

    def _start_parts(self, robot: EmulatedRobot, stack: contextlib.ExitStack) -> str:
        """Start each part of a robot on a port or bus of its own, and return how to connect to all of them."""
        alone = {"--rehearsal": self.rehearsal, "--task": self.task, "--hand": self.hand}
        alone |= {"--one-by-one": self.one_by_one, "--motors": self.motors, "--ids": self.ids}
        for option, given in alone.items():
            if given:
                raise UnsupportedOptionError(option, self.robot, do="emulate one of its arms")
        options: list[str] = []
        for number, (name, part) in enumerate(robot.parts.items()):
            if part.driver in SERIAL:
                port = self._open_servos(part, part.joints(), stack, suffix=f".{name}")
                options.append(f"--option {name}.port={port}")
            else:
                channel = self._channels(len(robot.parts))[number]
                self._open_can(part, channel, stack)
                options.append(f"--option {name}.channel={channel}")
        if robot.driver not in SERIAL:
            options.insert(0, f"--option interface={self.interface}")
        command = f"waldo robot {self.robot} --driver {robot.driver}"
        if robot.is_leader:
            follower = self.robot.removesuffix("_leader")
            command = f"waldo teleop leader --robot {follower} --option driver={robot.driver}"
        return f"{robot.robot.name} is emulated; connect with: {command} {' '.join(options)}"

    def _channels(self, count: int) -> list[str]:
        """Return a channel for each part: those that are given, or ports of the multicast address.

        Raises:
            InvalidValueError: If the number of channels is another one.
        """
        given = self.channel.split(",")
        if len(given) == 1 and self.interface == "udp_multicast":
            return [f"{self.channel}:{FIRST_PORT + number}" for number in range(count)]
        if len(given) != count:
            raise InvalidValueError("--channel", self.channel, f"{count} channels, such as vcan0,vcan1")
        return given

    def _check(self, driver: str) -> None:
        """Raise for options that have no effect with a driver, or exclude each other."""
        if driver not in SERIAL:
            serial = {"rehearsal": self.rehearsal, "one-by-one": self.one_by_one, "task": self.task, "link": self.link}
            for option, given in serial.items():
                if given:
                    raise UnsupportedOptionError(f"--{option}", f"--driver {driver}", SERIAL)
        if self.controller and driver != "unitree":
            raise UnsupportedOptionError("--controller", f"--driver {driver}", ("unitree",))
        if self.task and self.rehearsal:
            raise ConflictingOptionsError("--task", "--rehearsal")
        if self.hand:
            if driver == "unitree":
                raise UnsupportedOptionError("--hand", "--driver unitree", (*SERIAL, "damiao", "robstride"))
            for option, given in (("--rehearsal", self.rehearsal), ("--task", bool(self.task))):
                if given:
                    raise ConflictingOptionsError("--hand", option)

    def _start_unitree(self, robot: Robot, stack: contextlib.ExitStack) -> str:
        from waldo.sim.emulation.unitree import EmulatedUnitree

        interface = "lo" if self.interface == "udp_multicast" else self.interface
        stack.enter_context(EmulatedUnitree(robot, self.domain, interface, rate_hz=500.0, controller=self.controller))
        return (
            f"{robot.name} is on DDS domain {self.domain}, interface {interface}; connect with: waldo robot "
            f"{self.robot} --driver unitree --option domain={self.domain} --option interface={interface}"
        )

    def _start_servos(self, robot: EmulatedRobot, stack: contextlib.ExitStack) -> str:
        servo_class, started = _servo_class(robot.driver), list[Any]()
        scene = self._scene(robot.robot, stack) if self.task else None
        joints = scene or robot.joints(self._hand(robot.robot, lambda: any(one.is_centered for one in started), stack))
        servos = servo_class(
            joints,
            () if self.one_by_one else robot.ids,
            models=robot.motors,
            calibrated=self.calibrated and not self.one_by_one,
            one_by_one=self.one_by_one,
        )
        started.append(servos)
        stack.enter_context(servos)
        port = self._linked(servos.port, stack)
        command = self._command(robot, port)
        if scene is not None:
            command += "".join(f" --camera {name}={url}" for name, url in scene.urls.items())
            command += f'\nin front of it: {self.task}, seed {self.seed}; the goal: "{scene.instruction}"'
        return f"{robot.robot.name}'s servos are on {port}; connect with: {command}"

    def _hand(
        self, robot: Robot, is_centered: Callable[[], bool], stack: contextlib.ExitStack
    ) -> Callable[[float], Array] | None:
        """Return the path of the hand that holds the arm, seconds -> positions (joints,) [rad]; None without one.

        Args:
            robot: The arm.
            is_centered: Returns whether the servos' homing offsets have been set.
            stack: Closes the terminal.

        Raises:
            HardwareError: If there is no terminal whose keys could move the hand.
        """
        from waldo.sim.emulation.hand import KeyedHand, RecordedHand
        from waldo.sim.emulation.rehearsal import CalibrationHand

        if self.rehearsal:
            return CalibrationHand(robot, is_centered)
        if self.hand != "keys":
            return RecordedHand(robot, Path(self.hand)) if self.hand else None
        from waldo.collect.devices.terminal_keys import TerminalKeys

        hand = KeyedHand(robot, lambda text: console.err().print(text, markup=False))
        keys = TerminalKeys(hand.press, hand.release, services={}, usage=hand.usage)
        if not keys.available():
            raise HardwareError("--hand keys reads the keys of a terminal, but standard input is none; use a CSV file")
        keys.open()
        stack.callback(keys.close)
        console.err().print(hand.usage, markup=False)
        return hand

    def _open_servos(self, robot: EmulatedRobot, joints: Joints, stack: contextlib.ExitStack, suffix: str = "") -> str:
        """Start emulated servos on a port and return its name."""
        servo_class = _servo_class(robot.driver)
        servos = servo_class(joints, robot.ids, models=robot.motors, calibrated=self.calibrated)
        return self._linked(stack.enter_context(servos).port, stack, suffix)

    def _linked(self, port: str, stack: contextlib.ExitStack, suffix: str = "") -> str:
        """Return the name of a port: that of the symbolic link to it, if there is one."""
        if self.link is None:
            return port
        link = self.link.with_name(self.link.name + suffix)
        _link(link, port)
        stack.callback(link.unlink, missing_ok=True)
        return str(link)

    def _command(self, robot: EmulatedRobot, port: str) -> str:
        """Return a command that uses the servos on a port."""
        kind = robot.lerobot_type or "so101_follower"
        role = "teleop" if robot.is_leader else "robot"
        if self.one_by_one:
            return f"lerobot-setup-motors --{role}.type={kind} --{role}.port={port}"
        if robot.lerobot_type:
            return f"lerobot-calibrate --{role}.type={kind} --{role}.port={port}"
        if not robot.is_described:
            return f"any program that drives {robot.driver} servos, ids {', '.join(map(str, robot.ids))}"
        if self.rehearsal:
            return f"waldo calibrate {self.robot} --driver {robot.driver} --port {port}"
        ids = f" --option ids={','.join(map(str, robot.ids))}" if self.ids else ""
        if robot.is_leader:
            option = "" if robot.driver == "feetech" else f" --option driver={robot.driver}"
            return f"waldo teleop leader --port {port}{option}{ids}"
        return f"waldo robot {self.robot} --driver {robot.driver} --port {port}{ids}"

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

    def _start_can(self, robot: EmulatedRobot, stack: contextlib.ExitStack) -> str:
        """Start emulated motors on a CAN bus and return how to connect to them."""
        self._open_can(robot, self.channel, stack)
        ids = f" --option ids={','.join(map(str, robot.ids))}" if self.ids else ""
        command = f"waldo robot {self.robot} --driver {robot.driver} --option interface={self.interface}"
        command += f" --option channel={self.channel}{ids}"
        use = f"; connect with: {command}" if robot.is_described else f", with the ids {', '.join(map(str, robot.ids))}"
        return f"{robot.robot.name}'s motors are on {self.interface}:{self.channel}{use}"

    def _open_can(self, robot: EmulatedRobot, channel: str, stack: contextlib.ExitStack) -> None:
        """Start emulated motors on a CAN bus."""
        from waldo.robots.drivers.can_link import open_bus
        from waldo.sim.emulation.damiao import DamiaoMotors
        from waldo.sim.emulation.robstride import RobStrideMotors

        ranges = robot.ranges()
        motor_class = DamiaoMotors if robot.driver == "damiao" else RobStrideMotors
        joints = robot.joints(self._hand(robot.robot, lambda: False, stack))
        stack.enter_context(motor_class(joints, open_bus(self.interface, channel), robot.ids, ranges))


def _servo_class(driver: str) -> type[FeetechServos] | type[DynamixelServos]:
    """Return the emulation of a manufacturer's servos."""
    from waldo.sim.emulation.dynamixel import DynamixelServos
    from waldo.sim.emulation.feetech import FeetechServos

    return FeetechServos if driver == "feetech" else DynamixelServos


def _link(path: Path, port: str) -> None:
    """Create a symbolic link to a port; an old link is replaced."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise FileError(path, "exists and is not a symbolic link", "choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(port)
