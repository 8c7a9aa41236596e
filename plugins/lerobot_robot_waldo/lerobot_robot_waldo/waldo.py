"""`--robot.type=waldo`: a `lerobot.robots.Robot` over one of waldo's robots."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots import Robot
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected
from numpy.typing import NDArray

from lerobot_robot_waldo.config_waldo import HEAT, WaldoConfig
from lerobot_robot_waldo.link import DriverLink, Link, RosLink, names_of
from waldo.errors import InvalidValueError
from waldo.robots.description import load_robot

UNKNOWN = -273.15
"""What stands for a temperature, current or time that nobody knows: NaN would spoil a dataset's statistics."""
LONGEST_S = 3600.0
"""A time to the limit is cut here; never is this long too [s]."""


class Waldo(Robot):
    """Positions are `<joint>.pos`; heat is `<joint>.winding_c` and what else the configuration names."""

    config_class = WaldoConfig
    name = "waldo"

    def __init__(self, config: WaldoConfig) -> None:
        """Take the configuration; nothing is opened yet."""
        super().__init__(config)
        self.config = config
        self.description = load_robot(config.robot)
        lower, upper = self.description.lower, self.description.upper
        share = np.array([name in config.percent for name in self.description.joint_names])
        self._scale = np.where(share, (upper - lower) / 100, np.pi / 180 if config.use_degrees else 1.0)
        self._zero = np.where(share, lower, 0.0)
        self._link: Link | None = None

    @cached_property
    def cameras(self) -> dict[str, Any]:
        """The cameras that the observation has, by name."""
        return {camera.name: camera for camera in self.description.cameras} if self.config.pictures else {}

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        """Positions, heat and pictures."""
        numbers = names_of(self.description, ["pos"]) + names_of(self.description, self.config.heat)
        pictures = {name: (camera.height, camera.width, 3) for name, camera in self.cameras.items()}
        return {**dict.fromkeys(numbers, float), **pictures}

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
        """Always: waldo's drivers speak radians."""
        return True

    def calibrate(self) -> None:
        """Nothing to do."""

    def configure(self) -> None:
        """Nothing to do."""

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        """Reach the robot; raises HardwareError with what to do."""
        config = self.config
        if config.driver:
            link: Link = DriverLink(self.description, config.driver, config.options)
        else:
            keys = {name: HEAT[name] for name in config.heat}
            namespace = config.namespace or self.description.name
            link = RosLink(self.description, namespace, keys, config.timeout_s, config.pictures)
        link.open()
        self._link = link

    @property
    def link(self) -> Link:
        """The way to the robot."""
        if self._link is None:
            raise InvalidValueError("link", None, "a connected robot", "call connect() first")
        return self._link

    @check_if_not_connected
    def get_observation(self) -> dict[str, Any]:
        """Return positions, heat and pictures."""
        now = self.link.snapshot()
        assert now.position is not None
        values = (now.position - self._zero) / self._scale
        told: dict[str, Any] = dict(zip(names_of(self.description, ["pos"]), values.tolist(), strict=True))
        for name in self.config.heat:
            column = now.heat.get(name, np.full(len(values), np.nan))
            told |= dict(zip(names_of(self.description, [name]), _finite(name, column), strict=True))
        for name, camera in self.cameras.items():
            blank = np.zeros((camera.height, camera.width, 3), np.uint8)
            told[name] = now.pictures.get(name, blank)
        return told

    @check_if_not_connected
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Command the joints that the action names; return what was sent."""
        keys = names_of(self.description, ["pos"])
        if missing := [key for key in keys if key not in action]:
            raise InvalidValueError(
                "action", ", ".join(action), f"every joint's position; {', '.join(missing)} is missing"
            )
        wanted = np.array([float(action[key]) for key in keys]) * self._scale + self._zero
        sent = (self.link.send(wanted) - self._zero) / self._scale
        return dict(zip(keys, sent.tolist(), strict=True))

    @check_if_not_connected
    def disconnect(self) -> None:
        """Let go; the robot holds."""
        link, self._link = self.link, None
        link.close()


def _finite(name: str, column: NDArray[np.float64]) -> list[float]:
    """Return numbers that a dataset can hold."""
    cut = np.minimum(column, LONGEST_S) if name == "time_to_limit_s" else column
    return np.where(np.isnan(cut), UNKNOWN, cut).tolist()
