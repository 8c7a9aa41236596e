"""Plug-in of LeRobot for waldo's robots; LeRobot discovers it by the name of its distribution."""

from lerobot_robot_waldo.config_waldo import WaldoConfig
from lerobot_robot_waldo.waldo import Waldo

__all__ = ["Waldo", "WaldoConfig"]
