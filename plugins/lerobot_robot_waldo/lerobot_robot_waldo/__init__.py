"""LeRobot's plug-in for waldo's robots; LeRobot imports it by its distribution's name."""

from lerobot_robot_waldo.config_waldo import WaldoConfig
from lerobot_robot_waldo.waldo import Waldo

__all__ = ["Waldo", "WaldoConfig"]
