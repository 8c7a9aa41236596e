"""The motor library: the motors of all manufacturers by short name.

Each manufacturer has a module of constants beside this one. A constant that is not published is None, and a computation
that needs it raises `UnpublishedError`. A simulation needs a torque constant, a resistance and thermal constants: for
the motors of the robot presets, those that are not published are assumed, and their basis is "assumed".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from waldo.errors import UnknownNameError
from waldo.robots.motor import Motor
from waldo.robots.motors import cubemars, damiao, dynamixel, feetech, robstride, unitree

MOTORS: Mapping[str, Motor] = MappingProxyType(
    {
        **feetech.MOTORS,
        **dynamixel.MOTORS,
        **damiao.MOTORS,
        **robstride.MOTORS,
        **unitree.MOTORS,
        **cubemars.MOTORS,
    }
)
"""Short name -> motor."""


def load_motor(name: str) -> Motor:
    """Return the motor with this short name.

    Raises:
        UnknownNameError: If there is no such motor; the message suggests the closest name.
    """
    if name not in MOTORS:
        raise UnknownNameError("motor", name, MOTORS)
    return MOTORS[name]
