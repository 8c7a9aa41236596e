"""A teleoperation device: a foot switch that sways one joint while it is pressed.

Usage: python examples/device.py

Register it in the `pyproject.toml` of your package, and `waldo teleop footswitch` finds it:

    [project.entry-points."waldo.devices"]
    footswitch = "my_package.device:FootSwitch"

    waldo teleop footswitch --option joint=wrist_roll --option amplitude=0.2

The file here is a Linux evdev node or any other file that delivers one byte per change: 1 pressed, 0 released.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waldo.collect.devices.device import Observation, Session
from waldo.errors import HardwareError, UnknownNameError
from waldo.robots.description import Robot, load_robot
from waldo.robots.drivers.options import TypedOptions, build_options
from waldo.typing import Array


@dataclass(frozen=True, kw_only=True)
class FootSwitchOptions(TypedOptions):
    """Options of the foot switch."""

    path: str = "/dev/footswitch"
    """File that delivers the state of the switch."""
    joint: str = ""
    """Joint that sways; by default the last one."""
    amplitude: float = 0.1
    """Amplitude of the motion [rad]."""


class FootSwitch:
    """A Device that sways a joint around the position at which the switch was pressed."""

    Options = FootSwitchOptions
    usage = "press the foot switch to move, release it to stop"

    def __init__(self, robot: Robot, **options: object) -> None:
        """Initialize for a robot; `options` are those of `FootSwitchOptions`."""
        self.options = build_options(FootSwitchOptions, options)
        self.robot = robot
        name = self.options.joint or robot.joint_names[-1]
        if name not in robot.joint_names:
            raise UnknownNameError("joint", name, robot.joint_names)
        self._joint = robot.joint_names.index(name)
        self.pressed, self.finished = False, False
        self._center: Array | None = None
        self._time_s = 0.0
        self._file = -1

    def open(self) -> None:
        """Open the switch; raises HardwareError if it is absent."""
        try:
            self._file = os.open(self.options.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise HardwareError(f"{self.options.path}: {error.strerror}; connect the foot switch") from error

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the targets (joints,) [rad] while the switch is pressed, else None."""
        self._read(session)
        if not (self.pressed and np.isfinite(observation.position).all()):
            self._center = None
            return None
        if self._center is None:
            self._center, self._time_s = observation.position.copy(), 0.0
        self._time_s += dt_s
        target = self._center.copy()
        target[self._joint] += self.options.amplitude * np.sin(self._time_s)
        return np.clip(target, self.robot.lower, self.robot.upper)

    def _read(self, session: Session) -> None:
        """Read the changes of the switch since the last cycle."""
        try:
            data = os.read(self._file, 64) if self._file >= 0 else b""
        except BlockingIOError:
            return
        except OSError as error:
            session.notify(f"{self.options.path}: {error.strerror}; the device is disconnected")
            self.pressed, self.finished = False, True
            return
        if data:
            self.pressed = data[-1:] in (b"\x01", b"1")

    def close(self) -> None:
        """Close the switch."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self.pressed = -1, False


def main() -> None:
    """Press and release a switch that is a named pipe, and print the targets."""
    from waldo.collect.devices.conformance import RecordingSession

    robot, session = load_robot("so101"), RecordingSession()
    path = Path(tempfile.mkdtemp()) / "switch"
    os.mkfifo(path)
    device = FootSwitch(robot, path=str(path), joint="wrist_roll", amplitude=0.2)
    observation = Observation(stamp_ns=0, position=robot.home, environment={})
    device.open()
    with path.open("wb", buffering=0) as switch:
        for name, state in (("released", b"0"), ("pressed", b"1"), ("released", b"0")):
            switch.write(state)
            target = device.step(observation, session, dt_s=1 / 60)
            print(f"{name}: {'no command' if target is None else np.round(target, 3).tolist()}")
    device.close()


if __name__ == "__main__":
    main()
