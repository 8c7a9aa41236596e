"""Motors of Unitree robots: their indices in a message, default gains and fault bits.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python (example/g1/low_level, example/go2/low_level),
https://github.com/unitreerobotics/xr_teleoperate (gains), Unitree's G1 developer pages (fault bits).
"""

from __future__ import annotations

from collections.abc import Mapping

_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
G1_MOTORS: tuple[str, ...] = (
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in _LEG),
    *(f"waist_{part}_joint" for part in ("yaw", "roll", "pitch")),
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in _ARM),
)
"""Joint of each motor of the G1 with 29 joints (G1JointIndex)."""
GO2_MOTORS: tuple[str, ...] = tuple(
    f"{leg}_{part}_joint" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf")
)
"""Joint of each motor of the Go2."""
MOTOR_INDICES: Mapping[str, int] = {
    name: index for names in (G1_MOTORS, GO2_MOTORS) for index, name in enumerate(names)
}
"""Joint name -> motor index, for robots whose joints have Unitree's names."""

ARM_SDK_MOTORS = range(12, 29)
"""Motors that rt/arm_sdk drives: waist and arms (example/g1/high_level/g1_arm7_sdk_dds_example.py)."""
HG_MOTORS, GO_MOTORS = 35, 20
"""Number of motors in a message of the families hg and go."""
ARM_SDK_WEIGHT = 29
"""Motor index whose position on rt/arm_sdk is the weight of the arm commands, 0 to 1 (kNotUsedJoint0)."""

FAULTS = (
    (0x1, "over-current"),
    (0x2, "transient over-voltage"),
    (0x4, "continuous over-voltage"),
    (0x8, "transient under-voltage"),
    (0x10, "chip over-temperature"),
    (0x20, "driver over- or under-temperature (MOS)"),
    (0x40, "driver temperature sensor fault (MOS)"),
    (0x80, "housing over- or under-temperature"),
    (0x100, "housing temperature sensor fault"),
    (0x200, "winding over-temperature"),
    (0x400, "rotor encoder 1 fault"),
    (0x800, "rotor encoder 2 fault"),
    (0x1000, "output encoder fault"),
    (0x2000, "calibration data fault"),
    (0x4000, "abnormal reset"),
    (0x8000, "locked: authentication failed"),
    (0x10000, "chip verification failed"),
    (0x20000, "in calibration mode"),
    (0x40000, "communication checksum error"),
    (0x80000, "driver version too old"),
    (0x40000000, "motor lost the connection to the computer"),
    (0x80000000, "computer lost the connection to the motor"),
)
"""Bit of motorstate -> text ("motor status information" in Unitree's G1 developer pages)."""


def fault_text(motorstate: int) -> str:
    """Return a motor's faults as text; empty if there are none."""
    return ", ".join(text for bit, text in FAULTS if motorstate & bit)


def default_gains(joint: str) -> tuple[float, float]:
    """Return the default stiffness [N·m/rad] and damping [N·m·s/rad] of a joint, by its name."""
    if joint.startswith("waist"):
        return 300.0, 3.0
    if "wrist" in joint:
        return 40.0, 1.5
    return (80.0, 3.0) if "shoulder" in joint or "elbow" in joint else (40.0, 1.0)
