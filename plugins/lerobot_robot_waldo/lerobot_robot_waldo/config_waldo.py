"""The plug-in's configuration, as LeRobot's command line shows it."""

# No `from __future__ import annotations`: draccus reads the fields' types.

from dataclasses import dataclass, field

from lerobot.robots import RobotConfig

HEAT = {
    "winding_c": "winding_celsius",
    "housing_c": "housing_celsius",
    "current_a": "current_amperes",
    "torque_nm": "torque_newton_metres",
    "time_to_limit_s": "time_to_limit_seconds",
}
"""Name in the observation -> key in the robot node's `motors` topic."""


@RobotConfig.register_subclass("waldo")
@dataclass(kw_only=True)
class WaldoConfig(RobotConfig):
    """Which of waldo's robots, and how it is reached."""

    robot: str = "so101"
    """Name of its description: so101, g1, an MJCF file ..."""
    driver: str = ""
    """One of waldo's drivers, run in this process; empty: a `waldo robot` that runs elsewhere on the ROS graph."""
    options: dict[str, str] = field(default_factory=dict)
    """The driver's options."""
    namespace: str = ""
    """The robot node's ROS namespace; the robot's name unless given."""
    pictures: bool = True
    """Take the robot's cameras into the observation."""
    heat: list[str] = field(default_factory=lambda: ["winding_c"])
    """What of each motor goes into the observation: winding_c, housing_c, current_a, torque_nm, time_to_limit_s."""
    use_degrees: bool = True
    """Angles in degrees, as LeRobot's arms have them; false: in radians."""
    percent: list[str] = field(default_factory=lambda: ["gripper"])
    """Joints that are told in 0..100 of their range, as LeRobot's grippers are."""
    timeout_s: float = 10.0
    """How long connecting waits for the robot node [s]."""

    def __post_init__(self) -> None:
        """Refuse heat that nobody tells."""
        super().__post_init__()
        if unknown := [name for name in self.heat if name not in HEAT]:
            raise ValueError(f"heat: unknown {', '.join(unknown)} (known: {', '.join(HEAT)})")
