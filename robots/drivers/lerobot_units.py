"""LeRobot's units and ours: `<joint>.pos` in degrees, -100..100 or 0..100 against radians.

What a number means is a property of the device's motor bus (lerobot 0.6.1, motors/motors_bus.py, `_normalize`): degrees
and -100..100 count from the middle of the calibrated range, 0..100 from its lower end. A device without such a bus says
nothing of its units: they are an option.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from waldo.errors import HardwareError, InvalidValueError, MissingExtraError, UnknownNameError
from waldo.robots.description import Robot
from waldo.typing import Array


class Units:
    """The joints of a LeRobot device, as keys and as numbers."""

    def __init__(self, device: Any, robot: Robot, names: Sequence[str], units: str) -> None:
        """Take the device, the robot, the device's name of each joint, and the units of one without a motor bus."""
        self.names = tuple(names)
        self.keys = tuple(f"{name}.pos" for name in names)
        if units not in ("degrees", "radians"):
            raise InvalidValueError("units", units, "degrees or radians")
        scales = [self._of_joint(device, robot, i, name, units) for i, name in enumerate(names)]
        self._scale = np.array([scale for scale, _ in scales])
        self._zero = np.array([zero for _, zero in scales])

    @staticmethod
    def _of_joint(device: Any, robot: Robot, index: int, name: str, units: str) -> tuple[float, float]:
        """Return radians per unit, and the angle at 0 [rad]."""
        bus = getattr(device, "bus", None)
        motor = None if bus is None else bus.motors.get(name)
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
        return (np.pi / 180 if (mode or units) == "degrees" else 1.0), 0.0

    def angles(self, told: dict[str, Any]) -> Array:
        """Return the joints' angles (joints,) [rad] from an observation or an action."""
        if missing := [key for key in self.keys if key not in told]:
            raise InvalidValueError("names", ", ".join(missing), f"keys that the device has: {', '.join(told)}")
        return np.array([float(told[key]) for key in self.keys]) * self._scale + self._zero

    def action(self, angles: Array) -> dict[str, float]:
        """Return the action for angles (joints,) [rad]."""
        values = (angles - self._zero) / self._scale
        return {key: float(value) for key, value in zip(self.keys, values, strict=True)}

    def speed(self, value: float, joint: int) -> float:
        """Return a joint's speed [rad/s] from the device's units a second."""
        return value * float(self._scale[joint])


def make_device(package: str, kind: str, config: str, make: Callable[[Any], Any], **fields: object) -> Any:
    """Return a LeRobot robot or teleoperator by its registered name, plug-ins included.

    `package` is lerobot.robots or lerobot.teleoperators; `config` is the rest of its configuration as JSON, with
    cameras and all, in the fields that LeRobot's own command line has.
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
        told = json.loads(config) if config else {}
    except ValueError as error:
        raise InvalidValueError("config", config, "JSON", str(error)) from error
    _register("lerobot.cameras", "")
    given = {key: value for key, value in fields.items() if value}
    try:
        return make(draccus.decode(base, {"type": kind, **told, **given}))
    except ImportError as error:
        # LeRobot asks for the vendor's library of each device only when the device is made.
        raise HardwareError(f"{kind} cannot be made: {' '.join(str(error).split())}") from error
    except (draccus.utils.DecodingError, TypeError, ValueError) as error:
        raise InvalidValueError("config", config, f"what a {kind} needs", " ".join(str(error).split())) from error


def _registry(package: str) -> Any:
    module = importlib.import_module(f"{package}.config")
    return module.RobotConfig if package.endswith("robots") else module.TeleoperatorConfig


def _register(package: str, kind: str) -> None:
    """Import the package's parts, which register their configurations, until `kind` is known; "" imports all."""
    root = importlib.import_module(package)
    for part in pkgutil.iter_modules(root.__path__):
        if not part.ispkg:
            continue
        try:
            importlib.import_module(f"{package}.{part.name}")
        except ImportError:
            continue  # It needs an extra of LeRobot's that is not installed.
        if kind and kind in _registry(package).get_known_choices():
            return
