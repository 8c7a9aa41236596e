"""Joints that two equal servos drive together, such as shoulder and elbow of the ALOHA arms.

The two servos face each other, so one of them has the reverse drive mode. Both receive each goal, in the same frame,
and every reading combines the two. The difference between their positions is measured when connecting: it is constant
as long as both are fixed to the joint.

The vendor's own coupling, in which the second servo also executes what is addressed to the first (register 12,
"Secondary(Shadow) ID"), is disabled: it would pass the first one's calibration on, and neither confirms nor reports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.servo_bus import Feedback, ServoBus

UNCOUPLED = 255
"""Value of the register `secondary` with which a servo executes only what is addressed to itself."""
APART = 60
"""Difference at which the two servos of a joint no longer agree [counts]: 5 degrees."""
CONFIRMED = 3
"""Readings in succession after which that is a fault: a single one may be damaged."""


def default_ids(robot: Robot) -> tuple[int, ...]:
    """Return the id of each joint's servo, the first of two: 1, 2, 3 ..., with the second one behind the first."""
    ids, number = list[int](), 1
    for joint in robot.joints:
        ids.append(number)
        number += joint.motor.count
    return tuple(ids)


class SecondServos:
    """The second servos of an arm's joints, each with the id behind that of the first."""

    def __init__(self, robot: Robot, ids: Sequence[int]) -> None:
        """Find the joints with two motors.

        Args:
            robot: The robot.
            ids: Id of each joint's servo, the first of two.

        Raises:
            InvalidValueError: If a joint has more than two motors, or the id of a second servo is used twice.
        """
        self.of: Mapping[int, int] = {i: ids[i] + 1 for i, joint in enumerate(robot.joints) if joint.motor.count > 1}
        """Joint -> id of its second servo."""
        if any(joint.motor.count > 2 for joint in robot.joints):
            raise InvalidValueError("motors of a joint", robot.name, "one or two")
        if used := set(self.of.values()) & set(ids):
            raise InvalidValueError("ids", tuple(ids), f"{min(used)} free, for the second servo of the joint before")
        self._first = {i: ids[i] for i in self.of}
        self._shift: dict[int, int] = {}
        """Joint -> position of its second servo less that of its first [counts]."""
        self._apart = dict.fromkeys(self.of, 0)
        """Joint -> readings in succession in which its servos did not agree."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all second servos."""
        return tuple(self.of.values())

    def check(self, bus: ServoBus, names: Sequence[str]) -> None:
        """Raise HardwareError unless each second servo turns against the first one; then only it executes its frames.

        Args:
            bus: The open bus.
            names: Names of the joints.
        """
        for joint, servo in self.of.items():
            if bus.drive_mode is None or bus.secondary is None:
                raise HardwareError(f"{names[joint]} has two servos, which this driver cannot reverse; use dynamixel")
            modes = [bus.read(one, bus.drive_mode) & 1 for one in (self._first[joint], servo)]
            if modes[0] == modes[1]:
                raise HardwareError(
                    f"the servos {self._first[joint]} and {servo} of {names[joint]} face each other, but have the same "
                    f"drive mode ({modes[0]}), so they would work against each other; run waldo calibrate"
                )
            bus.change(servo, bus.secondary, UNCOUPLED)

    def reverse(self, bus: ServoBus) -> None:
        """Uncouple each second servo and set the drive mode that is opposite to the first one's, without torque."""
        for joint, servo in self.of.items():
            if bus.drive_mode is None or bus.secondary is None:
                continue
            bus.write(servo, bus.enable, 0)
            bus.change(servo, bus.secondary, UNCOUPLED)
            opposite = 1 - (bus.read(self._first[joint], bus.drive_mode) & 1)
            bus.change(servo, bus.drive_mode, bus.read(servo, bus.drive_mode) & ~1 | opposite)

    def reset(self) -> None:
        """Take the difference between the two positions of each joint from its next reading."""
        self._shift.clear()

    def combined(self, found: Mapping[int, Feedback]) -> dict[int, Feedback]:
        """Return readings by id in which that of each first servo is that of the joint.

        The currents add up; temperature and faults are those of the worse servo. A joint one of whose servos has not
        responded has no reading.
        """
        joined = dict(found)
        for joint, servo in self.of.items():
            first, second = joined.pop(self._first[joint], None), joined.pop(servo, None)
            if first is not None and second is not None:
                joined[self._first[joint]] = self._joined(joint, first, second)
        return joined

    def _joined(self, joint: int, first: Feedback, second: Feedback) -> Feedback:
        between = second.position - first.position
        apart = abs(between - self._shift.setdefault(joint, round(between)))
        self._apart[joint] = self._apart[joint] + 1 if apart > APART else 0
        is_loose = self._apart[joint] >= CONFIRMED
        faults = [first.fault, f"second servo: {second.fault}" if second.fault else ""]
        if is_loose:
            faults.append(f"its two servos are {apart:.0f} counts apart; check how they are fixed")
        return dataclasses.replace(
            first,
            pwm_ratio=(first.pwm_ratio + second.pwm_ratio) / 2,
            voltage_v=min(first.voltage_v, second.voltage_v),
            temperature_c=max(first.temperature_c, second.temperature_c),
            current_a=first.current_a + second.current_a,
            fault="; ".join(filter(None, faults)),
            disabled=first.disabled or second.disabled or is_loose,
        )

    def goals(self, goals: Mapping[int, int]) -> dict[int, int]:
        """Return servo id -> goal [counts] with those of the second servos added."""
        return dict(goals) | {
            servo: goals[self._first[joint]] + self._shift[joint]
            for joint, servo in self.of.items()
            if self._first[joint] in goals
        }
