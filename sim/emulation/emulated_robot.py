"""Which robots can be emulated: those with a description, the arms of `arms.py`, and bare motors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from waldo.errors import InvalidValueError, MissingOptionError, UnknownNameError
from waldo.robots.description import Robot, load_robot, presets
from waldo.robots.drivers.mit import Range
from waldo.robots.drivers.robstride.models import RANGES as ROBSTRIDE_RANGES
from waldo.robots.motor import in_parallel
from waldo.sim.emulation.arms import ARMS, make_arm, make_bare_motors
from waldo.sim.emulation.damiao import RANGES as DAMIAO_RANGES
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.paired_joints import PairedJoints
from waldo.sim.emulation.servos.dynamixel_table import MODELS as DYNAMIXELS
from waldo.sim.engine import Model
from waldo.typing import Array

BARE = "motors"
"""Name of a robot that consists of motors only."""


@dataclass(frozen=True, kw_only=True)
class EmulatedRobot:
    """A robot and its motors, as they are emulated."""

    robot: Robot
    driver: str
    """Protocol: feetech, dynamixel, damiao, robstride or unitree."""
    motors: tuple[str, ...]
    """Each motor, as the emulations name it, in the order of the joints; empty for their default."""
    ids: tuple[int, ...]
    """Id of each motor; a joint may have two."""
    model: Model | None = None
    """Compiled model; None: that of the robot's MJCF file."""
    is_leader: bool = False
    """Whether the arm is moved by hand."""
    lerobot_type: str = ""
    """Name of LeRobot's robot or teleoperator for it; empty if it has none."""
    parts: Mapping[str, EmulatedRobot] = field(default_factory=dict[str, "EmulatedRobot"])
    """Part -> its motors, for a robot whose parts have connections of their own."""

    @property
    def is_described(self) -> bool:
        """Whether waldo's own drivers know the robot."""
        return self.model is None

    def joints(self, path: Callable[[float], Array] | None = None) -> Joints:
        """Return what the motors are fixed to: the joints of the robot's model, or those of an arm in a hand.

        Args:
            path: Path of the hand, seconds -> positions (joints,) [rad]; None: there is none, or that of a leader arm.
        """
        is_held = self.is_leader or path is not None
        found: Joints = EmulatedLeader(self.robot, path) if is_held else EmulatedJoints(self.robot, model=self.model)
        return PairedJoints(found) if len(self.ids) > len(self.robot.joints) else found

    def ranges(self) -> list[Range]:
        """Return the full-scale values of each CAN motor.

        Raises:
            UnknownNameError: If one of `motors` is not emulated.
            InvalidValueError: If the robot's description names motors that are not RobStride's.
        """
        if self.driver == "damiao":
            if self.motors:
                return [_known("Damiao motor", motor, DAMIAO_RANGES) for motor in self.motors]
            efforts = [max(1.0, joint.effort) for joint in self.robot.joints]
            return [Range(position_rad=12.5, velocity_rad_s=30, torque_nm=effort) for effort in efforts]
        if self.motors:
            short = {name.split()[-1].lower(): full for name, full in ROBSTRIDE_RANGES.items()}
            return [_known("RobStride motor", motor, short) for motor in self.motors]
        names = [joint.motor.name for joint in self.robot.joints]
        if unknown := sorted({name for name in names if name not in ROBSTRIDE_RANGES}):
            expected = f"a robot whose motors are all among {', '.join(ROBSTRIDE_RANGES)}"
            found = f"{self.robot.name} with {', '.join(unknown)}"
            raise InvalidValueError("robot", found, expected, "name the motors with --motors")
        return [ROBSTRIDE_RANGES[name] for name in names]


def _known(kind: str, name: str, known: Mapping[str, Range]) -> Range:
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return known[name]


def load_emulated(name: str, driver: str = "", motors: Sequence[str] = (), ids: Sequence[int] = ()) -> EmulatedRobot:
    """Return a robot to emulate.

    Args:
        name: Name or MJCF file of a robot with a description, a name in `ARMS`, or `motors`.
        driver: Protocol; by default that of the robot.
        motors: Each motor in the order of the joints, or one for all.
        ids: Id of each motor; by default those of the robot.

    Raises:
        UnknownNameError: If no robot has this name.
        InvalidValueError: If the number of motors or ids is not that of the robot.
        MissingOptionError: If `motors` has none, or no driver.
    """
    found = _base(name, driver, tuple(motors), len(ids))
    count = len(found.ids)
    chosen = tuple(motors) * count if len(motors) == 1 else tuple(motors) or found.motors
    for option, given in (("motors", len(chosen)), ("ids", len(ids))):
        if given not in (0, count):
            raise InvalidValueError(f"--{option}", f"{given} values", f"{count}, one for each motor of {name}")
    if len(set(ids)) != len(ids):
        raise InvalidValueError("--ids", tuple(ids), "different ids")
    return dataclasses.replace(found, motors=chosen, ids=tuple(ids) or found.ids)


def _base(name: str, driver: str, motors: tuple[str, ...], count: int) -> EmulatedRobot:
    """Return a robot with the motors and ids that it has by default."""
    if name == BARE:
        if not (motors and driver):
            raise MissingOptionError("waldo emulate motors", "--motors and --driver")
        motors = motors * count if len(motors) == 1 and count else motors
        robot, model = make_bare_motors(motors)
        return EmulatedRobot(robot=robot, driver=driver, motors=motors, ids=_numbered(robot), model=model)
    if name in ARMS:
        arm = ARMS[name]
        if driver and driver != arm.driver:
            raise InvalidValueError("--driver", driver, f"{arm.driver}, which the motors of {name} speak")
        robot, model = make_arm(name, arm)
        lerobot = f"{name}_follower" if arm.driver == "dynamixel" and not arm.is_leader else name
        return EmulatedRobot(
            robot=robot,
            driver=arm.driver,
            motors=arm.motors,
            ids=arm.ids,
            model=model,
            is_leader=arm.is_leader,
            lerobot_type=lerobot if arm.driver == "dynamixel" else "",
        )
    if not name.endswith(".xml") and not name.startswith("menagerie:") and name not in presets():
        raise UnknownNameError("robot", name, (*presets(), *ARMS, BARE))
    robot = load_robot(name)
    whole = _described(robot, driver or _driver_of(robot))
    if whole.driver == "unitree":
        return whole
    parts = {part.name: _described(part.robot, whole.driver) for part in robot.parts}
    return dataclasses.replace(whole, parts=parts)


def _described(robot: Robot, driver: str) -> EmulatedRobot:
    """Return a robot with a description of its own."""
    return EmulatedRobot(
        robot=robot,
        driver=driver,
        motors=_damiao_types(robot) if driver == "damiao" else _dynamixel_types(robot) if driver == "dynamixel" else (),
        ids=_numbered(robot),
        is_leader=all(joint.effort == 0 for joint in robot.joints),
    )


def _damiao_types(robot: Robot) -> tuple[str, ...]:
    """Return the type of each Damiao motor, such as dm4310 of "Damiao DM-J4310"; empty if one is unknown."""
    names = [joint.motor.name.removeprefix("Damiao DM-J") for joint in robot.joints]
    types = tuple(f"dm{name}" for name in names)
    return types if all(name in DAMIAO_RANGES for name in types) else ()


def _dynamixel_types(robot: Robot) -> tuple[str, ...]:
    """Return the model of each Dynamixel, such as xm540-w270; empty if one is not emulated."""
    motors = [joint.motor for joint in robot.joints for _ in range(joint.motor.count)]
    types = tuple(motor.name.split()[-1].lower() for motor in motors)
    return types if all(name in DYNAMIXELS for name in types) else ()


def _driver_of(robot: Robot) -> str:
    """Return the protocol of a robot's motors, by the manufacturer of the first one; serial servos if it is unknown."""
    vendor = in_parallel(robot.joints[0].motor, 1).name.split()[0].lower()
    return vendor if vendor in ("dynamixel", "damiao", "robstride", "unitree") else "feetech"


def _numbered(robot: Robot) -> tuple[int, ...]:
    """Return the ids 1, 2, 3 ... of all motors."""
    return tuple(range(1, sum(joint.motor.count for joint in robot.joints) + 1))
