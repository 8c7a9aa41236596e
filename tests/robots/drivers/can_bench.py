"""An emulated arm with two CAN motors of either vendor on a virtual bus, for tests of the CAN drivers."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import can

from waldo.robots.description import Joint, Robot
from waldo.robots.drivers import damiao
from waldo.robots.drivers.can_robot import CanMotorDriver
from waldo.robots.drivers.mit import Range
from waldo.robots.drivers.robstride.driver import RobStrideDriver
from waldo.robots.drivers.robstride.models import RANGES
from waldo.robots.motors.damiao import DM_J4310
from waldo.robots.motors.robstride import RS03
from waldo.sim.emulation.can_bus import CanMotors
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.robstride import RobStrideMotors

ARM = """
<mujoco model="arm">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><joint damping=".05" armature=".01"/><position kp="20" kv="1" forcerange="-7 7"/></default>
  <worldbody>
    <body pos="0 0 .5">
      <joint name="shoulder" axis="0 1 0" range="-2 2"/>
      <geom type="capsule" size=".02" fromto="0 0 0 .2 0 0" mass=".4"/>
      <body pos=".2 0 0">
        <joint name="elbow" axis="0 1 0" range="-2 2"/>
      <geom type="capsule" size=".02" fromto="0 0 0 .2 0 0" mass=".3"/>
      </body>
    </body>
  </worldbody>
  <actuator><position name="shoulder" joint="shoulder"/><position name="elbow" joint="elbow"/></actuator>
</mujoco>
"""
CHANNELS = count()
DAMIAO_RANGE = Range(position_rad=12.5, velocity_rad_s=30, torque_nm=10)
EMULATED: dict[str, tuple[type[CanMotors], type[CanMotorDriver], Any, Range]] = {
    "damiao": (DamiaoMotors, damiao.DamiaoDriver, DM_J4310, DAMIAO_RANGE),
    "robstride": (RobStrideMotors, RobStrideDriver, RS03, RANGES["RobStride RS03"]),
}


class Bench:
    """An emulated arm on its own bus."""

    def __init__(self, robot: Robot, vendor: str, emulator: type[CanMotors] | None = None) -> None:
        self.channel, self.robot = f"bench{next(CHANNELS)}", robot
        known, self.driver_class, _, full = EMULATED[vendor]
        emulator = emulator or known
        self.plant = EmulatedJoints(robot)
        self.motors: Any = emulator(
            self.plant, can.Bus(interface="virtual", channel=self.channel), [1, 2], [full, full]
        )

    def driver(self, **options: object) -> CanMotorDriver:
        # A busy machine may pause a process for seconds.
        defaults = {"interface": "virtual", "channel": self.channel, "motor_timeout_s": 20.0, "response_timeout_s": 5.0}
        return self.driver_class(self.robot, **{**defaults, **options})


def small_arm(vendor: str, folder: Path) -> Robot:
    """Return the arm, whose model is written to a folder."""
    (folder / "arm.xml").write_text(ARM)
    one = {"motor": EMULATED[vendor][2], "lower": -2.0, "upper": 2.0, "velocity": 3.0, "acceleration": 20.0}
    joints = tuple(
        Joint(name=name, home=home, effort=7.0, **one) for name, home in (("shoulder", 0.3), ("elbow", -0.2))
    )
    return Robot(name="arm", model="arm", joints=joints, cameras=(), mjcf=str(folder / "arm.xml"))
