"""Driver for RobStride motors (RS00 to RS06, EL05) over CAN, in the private or the MIT protocol."""

from __future__ import annotations

from typing import ClassVar

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.bus_driver import BusOptions
from waldo.robots.drivers.can_link import CanLink
from waldo.robots.drivers.can_robot import CanMotorDriver, MotorProtocol
from waldo.robots.drivers.robstride.models import RANGES, WARNING
from waldo.robots.drivers.robstride.options import RobStrideOptions
from waldo.robots.drivers.robstride.private import RobStrideProtocol
from waldo.robots.drivers.robstride.standard import MitProtocol


class RobStrideDriver(CanMotorDriver[RobStrideOptions]):
    """A `Driver` for robots with RobStride motors."""

    Options: ClassVar[type[BusOptions]] = RobStrideOptions
    recoverable: ClassVar[tuple[str, ...]] = (WARNING,)

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `RobStrideOptions`.

        Raises:
            InvalidValueError: If the motor of a joint is not a RobStride motor.
        """
        super().__init__(robot, **options)
        for joint in self.robot.joints:
            if joint.motor.name not in RANGES:
                known = ", ".join(name.split()[-1].lower() for name in RANGES)
                raise InvalidValueError("motors", joint.motor.name, f"a RobStride motor at {joint.name} ({known})")

    def make_protocol(self, link: CanLink) -> MotorProtocol:
        """Return RobStride's frames on an open bus."""
        ranges = [RANGES[joint.motor.name] for joint in self.robot.joints]
        kind = MitProtocol if self.options.protocol == "mit" else RobStrideProtocol
        self.robstride = kind(link, self.ids, self.robot.joint_names, ranges, self.options)
        return self.robstride
