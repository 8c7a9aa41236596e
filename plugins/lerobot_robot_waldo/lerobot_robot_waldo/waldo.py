"""`--robot.type=waldo`: a `lerobot.robots.Robot` for waldo's robots."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots import Robot
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected
from numpy.typing import NDArray

from lerobot_robot_waldo.config_waldo import WaldoConfig, heat_keys
from lerobot_robot_waldo.link import DriverLink, Link, RosLink, names_of
from waldo.errors import InvalidValueError
from waldo.robots.description import load_robot

UNKNOWN = -273.15
"""Stands for an unknown value: NaN would make the statistics of a dataset NaN."""
MAX_VALUE = 3600.0
"""Maximum of a time [s] or count, which also stands for infinity."""


class Waldo(Robot):
    """A robot with positions `<joint>.pos` and motor quantities such as `<joint>.winding_c`."""

    config_class = WaldoConfig
    name = "waldo"

    def __init__(self, config: WaldoConfig) -> None:
        """Initialize without connecting."""
        super().__init__(config)
        self.config = config
        self.description = load_robot(config.robot)
        lower, upper = self.description.lower, self.description.upper
        percent = np.array([name in config.percent for name in self.description.joint_names])
        self._scale = np.where(percent, (upper - lower) / 100, np.pi / 180 if config.use_degrees else 1.0)
        self._zero = np.where(percent, lower, 0.0)
        self._link: Link | None = None

    @cached_property
    def cameras(self) -> dict[str, Any]:
        """The cameras of the observation, by name."""
        return {camera.name: camera for camera in self.description.cameras} if self.config.images else {}

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        """Positions, motor quantities and images."""
        numbers = names_of(self.description, ["pos"]) + names_of(self.description, self.config.heat)
        images = {name: (camera.height, camera.width, 3) for name, camera in self.cameras.items()}
        return {**dict.fromkeys(numbers, float), **images}

    @cached_property
    def action_features(self) -> dict[str, type]:
        """Positions."""
        return dict.fromkeys(names_of(self.description, ["pos"]), float)

    @property
    def is_connected(self) -> bool:
        """Whether `connect` has been called."""
        return self._link is not None

    @property
    def is_calibrated(self) -> bool:
        """Always true: waldo's drivers are in radians."""
        return True

    def calibrate(self) -> None:
        """Do nothing."""

    def configure(self) -> None:
        """Do nothing."""

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        """Connect to the robot; raises HardwareError if it is absent."""
        config = self.config
        if config.driver:
            link: Link = DriverLink(self.description, config.driver, config.options)
        else:
            keys = {name: heat_keys()[name] for name in config.heat}
            namespace = config.namespace or self.description.name
            link = RosLink(self.description, namespace, keys, config.timeout_s, config.images)
        link.open()
        self._link = link

    @property
    def link(self) -> Link:
        """The connection to the robot."""
        if self._link is None:
            raise InvalidValueError("link", None, "a connected robot", "call connect() first")
        return self._link

    @check_if_not_connected
    def get_observation(self) -> dict[str, Any]:
        """Return positions, motor quantities and images."""
        now = self.link.snapshot()
        assert now.position is not None
        values = (now.position - self._zero) / self._scale
        observation: dict[str, Any] = dict(zip(names_of(self.description, ["pos"]), values.tolist(), strict=True))
        for name in self.config.heat:
            column = now.heat.get(name, np.full(len(values), np.nan))
            observation |= dict(zip(names_of(self.description, [name]), _finite(column), strict=True))
        for name, camera in self.cameras.items():
            blank = np.zeros((camera.height, camera.width, 3), np.uint8)
            observation[name] = now.images.get(name, blank)
        return observation

    @check_if_not_connected
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Command the joints; return the applied action."""
        keys = names_of(self.description, ["pos"])
        if missing := [key for key in keys if key not in action]:
            raise InvalidValueError(
                "action", ", ".join(action), f"the position of every joint (missing: {', '.join(missing)})"
            )
        targets = np.array([float(action[key]) for key in keys]) * self._scale + self._zero
        applied = (self.link.send(targets) - self._zero) / self._scale
        return dict(zip(keys, applied.tolist(), strict=True))

    @check_if_not_connected
    def disconnect(self) -> None:
        """Disconnect; the robot then holds its position."""
        link, self._link = self.link, None
        link.close()


def _finite(column: NDArray[np.float64]) -> list[float]:
    """Return values without NaN and infinity."""
    return np.where(np.isnan(column), UNKNOWN, np.minimum(column, MAX_VALUE)).tolist()
