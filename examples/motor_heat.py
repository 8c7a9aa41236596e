"""Forecast when a motor reaches its limit, from the current that it reports.

Usage: python examples/motor_heat.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from waldo import HeatMonitor, load_robot
from waldo.robots.driver import MotorSensors


def main() -> None:
    """Hold a load with the elbow for two minutes."""
    robot = load_robot("so101")
    monitor = HeatMonitor(robot)
    elbow = robot.joint_names.index("elbow_flex")
    current = np.zeros(len(robot.joints))
    current[elbow] = 2.2  # [A]
    sensors = replace(MotorSensors.unknown(len(robot.joints)), current_a=current)
    still = np.zeros(len(robot.joints))
    for second in range(121):
        readings = monitor.step(sensors, still, dt_s=1.0, now_ns=second * 1_000_000_000)
        if second % 30 == 0:
            winding, left = readings.winding_c[elbow], readings.time_to_limit_s[elbow]
            print(f"{second:3d} s: winding {winding:.1f} °C, limit in {left:.0f} s")


if __name__ == "__main__":
    main()
