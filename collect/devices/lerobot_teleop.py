"""Any of LeRobot's teleoperators as a device: leader arms, phones, gamepads, by their names there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from waldo.collect.devices.leader import EngageOptions, Leader
from waldo.errors import HardwareError
from waldo.robots.description import Robot
from waldo.robots.drivers.lerobot_units import Units, make_device
from waldo.robots.drivers.options import build_options, per_joint
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class TeleopOptions(EngageOptions):
    """Which of LeRobot's teleoperators, and when the robot follows it."""

    type: str = "so101_leader"
    """Its registered name."""
    id: str = ""
    """Its id, under which LeRobot keeps its calibration."""
    port: str = ""
    """Its port, where it has one."""
    config: str = ""
    """The rest of its configuration, as JSON."""
    names: tuple[str, ...] = ()
    """LeRobot's name of each joint; the joints' own names unless given."""
    units: str = "degrees"
    """Units of a device without a motor bus: degrees or radians."""


class LeRobotTeleop(Leader):
    """A Device (waldo.collect.devices.device) over a `lerobot.teleoperators.Teleoperator`."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot and the fields of TeleopOptions, as values or as texts."""
        self.options = build_options(TeleopOptions, options)
        super().__init__(robot, self.options)
        self._names = per_joint("names", self.options.names, len(robot.joints), robot.joint_names)
        self._device: Any = None

    def connect(self) -> None:
        """Make and connect the teleoperator; raises HardwareError with what to do."""
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
                f"{options.type}: cannot connect ({' '.join(str(error).split())}); check power and cables"
            ) from error
        self._device = device
        if not device.is_calibrated:
            self.disconnect()
            raise HardwareError(
                f"{options.type} {options.id!r} has no calibration; run lerobot-calibrate --teleop.type={options.type} "
                f"--teleop.id={options.id} first"
            )
        self._units = Units(device, self.robot, self._names, options.units)

    def angles(self) -> Array:
        """Return the leader's angles now (joints,) [rad]."""
        try:
            told = self._device.get_action()
        except (ConnectionError, RuntimeError, OSError) as error:
            raise HardwareError(f"{self.options.type}: {' '.join(str(error).split())}; check its plug") from error
        return self._units.angles(told)

    def disconnect(self) -> None:
        """Disconnect."""
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(ConnectionError, RuntimeError, OSError):
                device.disconnect()
