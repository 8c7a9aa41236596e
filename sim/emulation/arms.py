"""Arms that are only emulated: their motors, ids and joint names are real, their links are those of a simple model.

Enough for a program that drives the motors. Robots with a description are emulated with their own model.

Sources: ids, names and motors as in LeRobot 0.6.1 (robots and teleoperators koch, omx); voltages and stall
torques of ROBOTIS's e-Manual and of Feetech's and Damiao's data sheets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError
from waldo.robots.constant import Constant
from waldo.robots.description import Joint, Robot
from waldo.robots.motor import Motor
from waldo.robots.motors.library import MOTORS
from waldo.sim.engine import Model, mujoco

LINK_M, LINK_KG = 0.08, 0.08
"""Length and mass of a link [m, kg]."""
TURNS_RAD = 12.5
"""Range of a joint without limits, in each direction [rad]."""
ARM_RAD = 1.5
"""Range of an arm's joint, in each direction [rad]."""
VELOCITY_RAD_S, ACCELERATION_RAD_S2 = 6.0, 40.0
"""Limits that the description states; the emulated motors do not apply them."""
SO_NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedArm:
    """The motors of an arm."""

    driver: str
    """Protocol: feetech, dynamixel, damiao or robstride."""
    motors: tuple[str, ...]
    """Motor of each joint."""
    names: tuple[str, ...]
    """Name of each joint."""
    ids: tuple[int, ...]
    """Id of each motor on its bus."""
    is_leader: bool = False
    """Whether the arm is moved by hand."""


_ROBSTRIDE = ("rs03", "rs03", "rs02", "rs02", "rs00", "rs00")

ARMS: Mapping[str, EmulatedArm] = {
    "koch": EmulatedArm(
        driver="dynamixel",
        motors=("xl430-w250",) * 2 + ("xl330-m288",) * 4,
        names=SO_NAMES,
        ids=(1, 2, 3, 4, 5, 6),
    ),
    "koch_leader": EmulatedArm(
        driver="dynamixel", motors=("xl330-m077",) * 6, names=SO_NAMES, ids=(1, 2, 3, 4, 5, 6), is_leader=True
    ),
    "omx": EmulatedArm(
        driver="dynamixel",
        motors=("xl430-w250",) * 3 + ("xl330-m288",) * 3,
        names=SO_NAMES,
        ids=(11, 12, 13, 14, 15, 16),
    ),
    "omx_leader": EmulatedArm(
        driver="dynamixel",
        motors=("xl330-m288",) * 5 + ("xl330-m077",),
        names=SO_NAMES,
        ids=(1, 2, 3, 4, 5, 6),
        is_leader=True,
    ),
    "robstride_arm": EmulatedArm(
        driver="robstride",
        motors=_ROBSTRIDE,
        names=tuple(f"joint_{k}" for k in range(1, 7)),
        ids=(1, 2, 3, 4, 5, 6),
    ),
}
"""Name -> arm that `waldo emulate` knows without a description."""


def _motor(name: str, volts: float, peak_nm: float) -> Motor:
    source = "the manufacturer's data sheet"
    voltage = Constant(volts, "V", "published", source)
    return Motor(name=name, voltage=voltage, peak_torque=Constant(peak_nm, "N·m", "published", source))


_EXTRA: Mapping[str, Motor] = {
    "sts3215": MOTORS["sts3215-12v"],
    "sts3250": MOTORS["sts3250-12v"],
    "xl330-m077": _motor("Dynamixel XL330-M077", 5.0, 0.228),
    "dm4310": MOTORS["dm-j4310"],
    "dm4340": MOTORS["dm-j4340"],
    "dm8009": MOTORS["dm-j8009"],
}
"""Motors that the library lacks, or has under another name."""


def motor_named(name: str) -> Motor:
    """Return a motor by the name that the emulations use.

    Raises:
        UnknownNameError: If there is no such motor.
    """
    known = {**MOTORS, **_EXTRA}
    if name not in known:
        raise UnknownNameError("motor", name, known)
    return known[name]


def make_arm(name: str, arm: EmulatedArm) -> tuple[Robot, Model]:
    """Return the description and the compiled model of an arm: a chain of links whose axes alternate."""
    bodies = [
        _body(joint, k, 0.1 if k == 0 else 0.0, LINK_M if k else 0.0, f'range="{-ARM_RAD} {ARM_RAD}"', motor)
        for k, (joint, motor) in enumerate(zip(arm.names, arm.motors, strict=True))
    ]
    tree = "".join(bodies) + "</body>" * len(bodies)
    return _build(name, arm.names, arm.motors, tree, ARM_RAD, "0 0 -9.81", is_leader=arm.is_leader)


def make_bare_motors(motors: Sequence[str]) -> tuple[Robot, Model]:
    """Return the description and the compiled model of motors side by side on a table, which turn without limits.

    Raises:
        InvalidValueError: If no motor is given.
    """
    if not motors:
        raise InvalidValueError("motors", "none", "at least one motor")
    names = [f"motor_{k}" for k in range(1, len(motors) + 1)]
    bodies = [
        _body(joint, 0, 0.0, 0.2 * k, 'limited="false"', motor)
        for k, (joint, motor) in enumerate(zip(names, motors, strict=True))
    ]
    return _build("motors", names, motors, "</body>".join(bodies) + "</body>", TURNS_RAD, "0 0 0", is_leader=False)


def _body(joint: str, axis: int, height_m: float, x_m: float, limits: str, motor: str) -> str:
    """Return the start of a body with one joint and one link."""
    peak = _peak(motor)
    return (
        f'<body pos="{x_m} 0 {height_m}">'
        f'<joint name="{joint}" axis="0 {axis % 2} {1 - axis % 2}" {limits}'
        f' damping="{peak / 40}" frictionloss="{peak / 60}" armature="{peak / 200}"/>'
        f'<geom type="capsule" size=".01" fromto="0 0 0 {LINK_M} 0 0" mass="{min(LINK_KG, peak / 50)}"'
        ' contype="0" conaffinity="0"/>'
    )


def _peak(motor: str) -> float:
    """Return the largest torque of a motor [N·m]."""
    return motor_named(motor).peak_torque_nm or 1.0


def _build(
    name: str,
    names: Sequence[str],
    motors: Sequence[str],
    bodies: str,
    range_rad: float,
    gravity: str,
    *,
    is_leader: bool,
) -> tuple[Robot, Model]:
    """Return a robot of these bodies; the gains are those of a stiff position controller."""
    actuators = "".join(
        f'<position name="{joint}" joint="{joint}" kp="{peak * 8}" kv="{peak / 2}" forcerange="{-peak} {peak}"/>'
        for joint, peak in zip(names, map(_peak, motors), strict=True)
    )
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco model="{name}"><compiler angle="radian"/>'
        f'<option timestep="0.002" integrator="implicitfast" gravity="{gravity}"/>'
        f"<worldbody>{bodies}</worldbody><actuator>{actuators}</actuator></mujoco>"
    )
    joints = tuple(
        Joint(
            name=joint,
            motor=motor_named(motor),
            lower=-range_rad,
            upper=range_rad,
            velocity=VELOCITY_RAD_S,
            acceleration=ACCELERATION_RAD_S2,
            effort=0.0 if is_leader else _peak(motor),
        )
        for joint, motor in zip(names, motors, strict=True)
    )
    return Robot(name=name, model=name, joints=joints, cameras=(), mjcf=""), model
