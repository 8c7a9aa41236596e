"""Any of LeRobot's teleoperators as a device: leader arms, phones and gamepads, selected by their registered names."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from waldo.collect.devices.leader import EngageOptions, Leader
from waldo.errors import HardwareError
from waldo.robots.description import Robot
from waldo.robots.drivers.lerobot.units import Unit, Units, make_device
from waldo.robots.drivers.options import build_options, per_joint
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class TeleopOptions(EngageOptions):
    """Selects one of LeRobot's teleoperators, and when the robot follows it."""

    type: str = "so101_leader"
    """Registered name of the teleoperator."""
    id: str = ""
    """Id under which LeRobot stores its calibration."""
    port: str = ""
    """Port, for teleoperators that have one."""
    config: str = ""
    """Further fields of its configuration, as JSON."""
    names: tuple[str, ...] = ()
    """LeRobot's name of each joint; by default the robot's joint names."""
    units: tuple[Unit, ...] = ()
    """Unit of each joint of a teleoperator without a motor bus: degrees (the default), radians, millimeters, meters or
    percent; one for all joints, or one each."""


class LeRobotTeleop(Leader):
    """A Device over a `lerobot.teleoperators.Teleoperator`."""

    Options = TeleopOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Initialize without connecting; `options` are those of `TeleopOptions`."""
        self.options = build_options(TeleopOptions, options)
        super().__init__(robot, self.options)
        self._names = per_joint("names", self.options.names, len(robot.joints), robot.joint_names)
        self._device: Any = None

    def connect(self) -> None:
        """Create and connect the teleoperator; raises HardwareError if it is absent or not calibrated."""
        from lerobot.teleoperators.utils import make_teleoperator_from_config

        options = self.options
        device = make_device(
            "lerobot.teleoperators",
            options.type,
            options.config,
            make_teleoperator_from_config,
            id=options.id,
            port=options.port,
        )
        try:
            device.connect(calibrate=False)
        except (ConnectionError, RuntimeError, OSError) as error:
            raise HardwareError(
                f"{options.type} cannot connect ({' '.join(str(error).split())}); check power and cables"
            ) from error
        self._device = device
        if not device.is_calibrated:
            self.disconnect()
            raise HardwareError(
                f"{options.type} {options.id!r} has no calibration; run: lerobot-calibrate "
                f"--teleop.type={options.type} --teleop.id={options.id}"
            )
        self._units = Units(device, self.robot, self._names, options.units)

    def angles(self) -> Array:
        """Return the leader's joint angles, shape (joints,) [rad]; raises HardwareError if it is disconnected."""
        try:
            action = self._device.get_action()
        except (ConnectionError, RuntimeError, OSError) as error:
            raise HardwareError(f"{self.options.type}: {' '.join(str(error).split())}; check its cable") from error
        return self._units.angles(action)

    def disconnect(self) -> None:
        """Disconnect from the teleoperator."""
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(ConnectionError, RuntimeError, OSError):
                device.disconnect()
