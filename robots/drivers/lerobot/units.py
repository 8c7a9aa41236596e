"""Conversion between LeRobot's joint units (degrees, -100 to 100, or 0 to 100) and rad or m; creation of its devices.

The unit is a property of the device's motor bus (lerobot 0.6.1, motors/motors_bus.py, `_normalize`): degrees and -100
to 100 are relative to the middle of the calibrated range, 0 to 100 to its lower end. For a device without such a bus,
such as an arm with a controller of its own, the unit of each joint is an option.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from waldo.errors import HardwareError, InvalidValueError, MissingExtraError, UnknownNameError
from waldo.robots.description import Robot
from waldo.robots.drivers.lerobot.bus import discard_late_answers, motor_buses
from waldo.robots.drivers.options import per_joint
from waldo.typing import Array

Unit = Literal["degrees", "radians", "millimeters", "meters", "percent"]
"""Unit of a joint of a device without a motor bus; percent is from the joint's lower limit to its upper one."""

SIZES: Mapping[str, float] = {"degrees": np.pi / 180, "radians": 1.0, "millimeters": 0.001, "meters": 1.0}
"""Unit -> its size [rad or m]."""


class Units:
    """Keys and units of the joints of a LeRobot device."""

    def __init__(self, device: Any, robot: Robot, names: Sequence[str], units: Sequence[str]) -> None:
        """Determine the unit of each joint.

        Args:
            device: A LeRobot robot or teleoperator.
            robot: The robot's description.
            names: LeRobot's name of each joint, in the order of the robot's joints.
            units: Unit of each joint of a device without a motor bus; a single one for all joints.

        Raises:
            HardwareError: If the device takes more than positions, such as the velocity of a base.
        """
        self.names = tuple(names)
        self.keys = tuple(f"{name}.pos" for name in names)
        _refuse_other_actions(device)
        chosen = per_joint("units", tuple(units), len(names), ("degrees",) * len(names))
        units_of = [self._unit(device, robot, i, name, chosen[i]) for i, name in enumerate(names)]
        self._scale = np.array([scale for scale, _ in units_of])
        self._zero = np.array([zero for _, zero in units_of])

    @staticmethod
    def _unit(device: Any, robot: Robot, index: int, name: str, unit: str) -> tuple[float, float]:
        """Return the size of a joint's unit and its position at 0 [rad or m]."""
        found = [
            (bus, name.removeprefix(prefix)) for prefix, bus in motor_buses(device).items() if name.startswith(prefix)
        ]
        bus, name = next(((bus, motor) for bus, motor in found if motor in bus.motors), (None, name))
        motor = None if bus is None else bus.motors[name]
        mode = "" if motor is None else motor.norm_mode.value
        lower, upper = float(robot.lower[index]), float(robot.upper[index])
        if mode == "range_0_100":
            return (upper - lower) / 100, lower
        if mode == "range_m100_100":
            limits = getattr(bus, "calibration", {}).get(name)
            resolution = getattr(bus, "model_resolution_table", {}).get(getattr(motor, "model", ""))
            if limits is None or resolution is None:
                return (upper - lower) / 200, (upper + lower) / 2
            return (limits.range_max - limits.range_min) / 2 * 2 * np.pi / (resolution - 1) / 100, 0.0
        if not mode and unit == "percent":
            return (upper - lower) / 100, lower
        return SIZES[mode or unit], 0.0

    def angles(self, values: dict[str, Any]) -> Array:
        """Return joint positions, shape (joints,) [rad or m], from an observation or an action.

        Raises:
            UnknownNameError: If the device has no value of a joint's name.
        """
        for key in self.keys:
            if key not in values:
                raise UnknownNameError("LeRobot joint", key.removesuffix(".pos"), _joint_names(values))
        return np.array([float(values[key]) for key in self.keys]) * self._scale + self._zero

    def action(self, angles: Array) -> dict[str, float]:
        """Return the action for joint positions, shape (joints,) [rad or m]."""
        values = (angles - self._zero) / self._scale
        return {key: float(value) for key, value in zip(self.keys, values, strict=True)}

    def speed(self, value: float, joint: int) -> float:
        """Return the velocity of a joint [rad/s or m/s] from the device's units per second."""
        return value * float(self._scale[joint])


def _refuse_other_actions(device: Any) -> None:
    """Raise HardwareError for a device with actions that belong to no joint, such as the velocity of a base."""
    features = getattr(device, "action_features", {})
    joints = {key.removesuffix(".pos") for key in features if key.endswith(".pos")}
    if other := [key for key in features if key.rpartition(".")[0] not in joints]:
        raise HardwareError(
            f"{getattr(device, 'name', type(device).__name__)} has the actions {', '.join(other)}, which are not joint "
            "positions; waldo drives arms and hands only, so drive this robot's base with the vendor's program"
        )


def make_device(package: str, kind: str, config: str, make: Callable[[Any], Any], **fields: object) -> Any:
    """Return a LeRobot robot or teleoperator.

    Args:
        package: lerobot.robots or lerobot.teleoperators.
        kind: The registered name of the device, which may be that of a LeRobot plug-in.
        config: Further fields of its configuration (such as cameras) as JSON, named as on LeRobot's command line.
        make: LeRobot's function that creates the device from its configuration.
        fields: Further fields of its configuration; empty ones are left out.

    Raises:
        UnknownNameError: If LeRobot has no such device.
        InvalidValueError: If the configuration is not JSON or does not fit the device.
        HardwareError: If a library that the device needs is not installed.
    """
    try:
        import draccus
        from lerobot.utils.import_utils import register_third_party_plugins
    except ImportError:
        raise MissingExtraError("lerobot", "lerobot") from None
    base = _registry(package)
    if kind not in base.get_known_choices():
        register_third_party_plugins()
    if kind not in base.get_known_choices():
        _register(package, kind)
    if kind not in base.get_known_choices():
        raise UnknownNameError(package.rpartition(".")[2].removesuffix("s"), kind, base.get_known_choices())
    try:
        values = json.loads(config) if config else {}
    except ValueError as error:
        raise InvalidValueError("config", config, "JSON", str(error)) from error
    _register("lerobot.cameras", "")
    given = {key: value for key, value in fields.items() if value}
    try:
        device = make(draccus.decode(base, {"type": kind, **values, **given}))
    except ImportError as error:
        # LeRobot imports the vendor's library only when the device is created.
        raise HardwareError(
            f"{kind} cannot be created ({' '.join(str(error).split())}); install the LeRobot extra of this device"
        ) from error
    except (draccus.utils.DecodingError, TypeError, ValueError) as error:
        raise InvalidValueError(
            "config", config, f"the configuration of {kind}", " ".join(str(error).split())
        ) from error
    discard_late_answers(device)
    return device


def _joint_names(values: dict[str, Any]) -> list[str]:
    return [key.removesuffix(".pos") for key in values if key.endswith(".pos")]


def _registry(package: str) -> Any:
    """Return the base class at which the package's configurations are registered."""
    module = importlib.import_module(f"{package}.config")
    return module.RobotConfig if package.endswith("robots") else module.TeleoperatorConfig


def _register(package: str, kind: str) -> None:
    """Import the package's modules, which register their configurations, until `kind` is known; "" imports all."""
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__):
        if not module.ispkg:
            continue
        try:
            importlib.import_module(f"{package}.{module.name}")
        except ImportError:
            continue  # The module needs an extra of LeRobot that is not installed.
        if kind and kind in _registry(package).get_known_choices():
            return
