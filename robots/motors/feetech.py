"""Motor constants of Feetech serial servos.

The torque per ampere of a data sheet is the stall torque divided by the stall current: the gear's friction is in it.
The torque constant here is that of the motor, from the no-load speed; the ratio of the two is the efficiency of the
gear. At standstill friction may act in either direction, so a held torque is converted with the torque constant alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from waldo.robots.constant import Constant
from waldo.robots.motor import Motor, ThermalConstants
from waldo.robots.motors.published_tests import PHOSPHOBOT_241, SO_ARM_134, STS3250_ARTICLE

SO_ARM_132 = "https://github.com/TheRobotStudio/SO-ARM100/issues/132"
PARALLEL_GRIPPER_5 = "https://github.com/roboninecom/SO-ARM100-101-Parallel-Gripper/issues/5"
MEMORY_TABLE = "Feetech STS memory table, register 13 (maximum temperature); it limits the sensor on the board"
C001 = "Feetech STS3215-C001 data sheet"
C018 = "Feetech STS3215-C018 data sheet"

SERVO_COMPARISON = "https://robonine.com/smart-serial-servo-motor-comparison-robotics/"
DRIVER_BOARDS = "https://robonine.com/?p=1177"

STS3215_THERMAL = ThermalConstants(
    winding_j_per_k=4.5,
    housing_j_per_k=17.6,
    winding_to_housing_k_per_w=6.1,
    housing_to_ambient_k_per_w=7.9,
    basis="fitted",
    source="geometric mean of the posterior of benchmarks/servo_heat.py, given the published tests of "
    f"robots/motors/published_tests.py ({SO_ARM_134}, {PHOSPHOBOT_241}) and the masses and the surface of the servo",
    driver_sensor_ratio=0.4,
    driver_sensor_std=0.15,
    std=(0.37, 0.42, 0.43, 0.28),
)

STS3215_7V = Motor(
    name="Feetech STS3215 7.4 V",
    gear_ratio=Constant(345, "1", "published", f"{C001}, 1/345"),
    torque_constant=Constant(
        1.21, "N·m/A", "fitted", f"Rhoban/bam, fitted to an STS3215; {C001}: 52 rpm at 7.4 V and 0.15 A give 1.28"
    ),
    resistance=Constant(2.68, "Ω", "fitted", "Rhoban/bam, fitted to an STS3215"),
    rated_torque=Constant(0.49, "N·m", "published", f"Feetech in {PARALLEL_GRIPPER_5}: 5 kg·cm"),
    peak_torque=Constant(1.91, "N·m", "published", f"{C001}, stall torque 19.5 kg·cm at 7.4 V"),
    no_load_speed=Constant(5.45, "rad/s", "published", f"{C001}, 0.192 s/60° at 7.4 V"),
    voltage=Constant(7.4, "V", "published", C001),
    gear_efficiency=Constant(0.64, "1", "fitted", f"{C001}: 8 kg·cm/A at stall, divided by the torque constant"),
    winding_limit=Constant(70, "°C", "published", MEMORY_TABLE),
    thermal=STS3215_THERMAL,
)
"""The servo of the LeRobot SO-101 kit's follower."""

STS3215_12V = Motor(
    name="Feetech STS3215 12 V",
    gear_ratio=Constant(345, "1", "published", f"{C018}, 1/345"),
    torque_constant=Constant(
        2.38, "N·m/A", "fitted", f"45 rpm at 12 V less 0.18 A x 4.44 Ω ({SO_ARM_132}, {SO_ARM_134})"
    ),
    resistance=Constant(4.44, "Ω", "published", f"12 V divided by the stall current of 2.7 A, {SO_ARM_132}"),
    peak_torque=Constant(2.94, "N·m", "published", f"stall torque 30 kg·cm, {SO_ARM_134}"),
    no_load_speed=Constant(4.71, "rad/s", "published", f"45 rpm, {SO_ARM_134}"),
    voltage=Constant(12.0, "V", "published", C018),
    gear_efficiency=Constant(
        0.45, "1", "fitted", f"11 kg·cm/A at stall ({SO_ARM_132}), divided by the torque constant"
    ),
    winding_limit=Constant(70, "°C", "published", MEMORY_TABLE),
    thermal=STS3215_THERMAL,
)

STS3250 = Motor(
    name="Feetech STS3250 12 V",
    gear_ratio=Constant(345, "1", "published", f"{SERVO_COMPARISON}, 1/345"),
    torque_constant=Constant(
        1.43, "N·m/A", "fitted", f"0.133 s/60° at 12 V ({STS3250_ARTICLE}) less 0.25 A (assumed) x 2.86 Ω"
    ),
    resistance=Constant(2.86, "Ω", "published", f"12 V divided by the stall current of 4.2 A, {DRIVER_BOARDS}"),
    peak_torque=Constant(4.9, "N·m", "published", f"stall torque 50 kg·cm at 12 V, {STS3250_ARTICLE}"),
    no_load_speed=Constant(7.87, "rad/s", "published", f"0.133 s/60° at 12 V, {STS3250_ARTICLE}"),
    voltage=Constant(12.0, "V", "published", STS3250_ARTICLE),
    gear_efficiency=Constant(0.82, "1", "fitted", "stall torque divided by stall current and torque constant"),
    winding_limit=Constant(70, "°C", "published", f"{STS3250_ARTICLE}, protection; it limits the sensor on the board"),
    thermal=ThermalConstants(
        winding_j_per_k=5.0,
        housing_j_per_k=36.0,
        winding_to_housing_k_per_w=5.8,
        housing_to_ambient_k_per_w=6.5,
        basis="fitted",
        source="geometric mean of the posterior of benchmarks/servo_heat.py: the constants of the STS3215, changed for "
        f"a case of aluminum (assumed), given one published test ({STS3250_ARTICLE}); the ratio of the sensor is that "
        "of the STS3215, which this posterior does not change (0.36 ± 0.16)",
        driver_sensor_ratio=0.4,
        driver_sensor_std=0.15,
        std=(0.4, 0.39, 0.38, 0.33),
    ),
)

MOTORS: Mapping[str, Motor] = {"sts3215-7v": STS3215_7V, "sts3215-12v": STS3215_12V, "sts3250-12v": STS3250}
"""Short name -> motor."""
