"""The plug-in's configuration, as shown by LeRobot's command line."""

# No `from __future__ import annotations`: draccus reads the types of the fields.

from dataclasses import dataclass, field

from lerobot.robots import RobotConfig

from waldo.errors import UnknownNameError
from waldo.robots import motor_readings


def heat_keys() -> dict[str, str]:
    """Return name of a motor quantity in the observation -> key in the robot node's `motors` topic."""
    return {quantity.attribute: quantity.key for quantity in motor_readings.MOTOR_QUANTITIES}


@RobotConfig.register_subclass("waldo")
@dataclass(kw_only=True)
class WaldoConfig(RobotConfig):
    """Selects one of waldo's robots and the connection to it."""

    robot: str = "so101"
    """Name of the robot's description, or an MJCF file."""
    driver: str = ""
    """Name of a driver that runs in this process; empty for a `waldo robot` that runs elsewhere on the ROS graph."""
    options: dict[str, str] = field(default_factory=dict)
    """Options of the driver."""
    namespace: str = ""
    """ROS namespace of the robot node; by default the robot's name."""
    images: bool = True
    """Whether the observation includes the robot's cameras."""
    heat: list[str] = field(default_factory=lambda: ["winding_c"])
    """Motor quantities in the observation, such as winding_c, housing_c, current_a, torque_nm or time_to_limit_s."""
    use_degrees: bool = True
    """Whether angles are in degrees, as in LeRobot's arms, rather than radians."""
    percent: list[str] = field(default_factory=lambda: ["gripper"])
    """Joints in 0 to 100 of their range, as LeRobot's grippers are."""
    timeout_s: float = 10.0
    """Timeout of the connection to the robot node [s]."""

    def __post_init__(self) -> None:
        """Refuse unknown motor quantities."""
        super().__post_init__()
        for name in self.heat:
            if name not in heat_keys():
                raise UnknownNameError("motor quantity in heat", name, heat_keys())
