"""Small models with the drives of well-known robots."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from waldo.sim.mjcf.home import reset_to_home
from waldo.sim.mjcf.readings import Readings
from waldo.sim.mjcf.robot_model import RobotModel, load_robot_model

ARM = """
<mujoco><option integrator="implicitfast" gravity="0 0 0"/><worldbody><body name="1">
  <joint name="hip" axis="0 1 0" range="-1 1" limited="true" armature=".01"/><geom size=".05" pos=".2 0 0"/>
  <body pos=".3 0 0"><joint name="knee" axis="0 1 0" armature=".01"/><geom size=".05" pos=".2 0 0"/></body>
</body></worldbody><actuator>{}</actuator></mujoco>"""
"""Two joints; the actuators are inserted. Angles are in degrees, so the range of the first is -1 to 1 degree."""

RADIAN_ARM = ARM.replace("<mujoco>", '<mujoco><compiler angle="radian"/>', 1)
"""The same with a range of -1 to 1 rad."""

GRIPPER = """
<mujoco><compiler angle="radian" autolimits="true"/><option integrator="implicitfast"/>
  <worldbody><body>
    <geom size=".02" mass=".7"/>
    <body pos="0 0 .06"><inertial mass=".015" pos="0 0 0" diaginertia="2e-6 2e-6 1e-6"/>
      <joint name="{first}" {joint}/></body>
    <body pos="0 0 .06"><inertial mass=".015" pos="0 0 0" diaginertia="2e-6 2e-6 1e-6"/>
      <joint name="{second}" {joint}/></body>
  </body></worldbody>
  <tendon><fixed name="split"><joint joint="{first}" coef=".5"/><joint joint="{second}" coef=".5"/></fixed></tendon>
  <equality><joint joint1="{first}" joint2="{second}" solimp="0.95 0.99 0.001" solref="0.005 1"/></equality>
  <actuator><general name="fingers_actuator" tendon="split" ctrlrange="0 255" biastype="affine" {actuator}/></actuator>
</mujoco>"""

PANDA_HAND = GRIPPER.format(
    first="finger_joint1",
    second="finger_joint2",
    joint='type="slide" axis="0 1 0" range="0 .04" armature=".1" damping="1"',
    actuator='forcerange="-100 100" gainprm="0.01568627451 0 0" biasprm="0 -100 -10"',
)
"""The fingers and the actuator of MuJoCo Menagerie's Panda hand."""

ROBOTIQ_2F85 = GRIPPER.format(
    first="right_driver_joint",
    second="left_driver_joint",
    joint='axis="1 0 0" range="0 .8" armature=".005" damping=".1"',
    actuator='forcerange="-5 5" gainprm="0.3137255 0 0" biasprm="0 -100 -10"',
)
"""The drivers and the actuator of MuJoCo Menagerie's Robotiq 2F-85."""


def load(folder: Path, text: str, name: str = "model.xml") -> RobotModel:
    """Write a model and load it."""
    path = folder / name
    path.write_text(text)
    return load_robot_model(path)


def arm(folder: Path, actuators: str, text: str = RADIAN_ARM) -> RobotModel:
    """Load an arm with actuators."""
    return load(folder, text.format(actuators))


def settle(loaded: RobotModel, targets: list[float], seconds: float = 3.0) -> np.ndarray:
    """Return the positions (joints,) after the targets were commanded from the home pose."""
    data = mujoco.MjData(loaded.model)
    reset_to_home(loaded.model, data)
    for name, target in zip(loaded.names, targets, strict=True):
        data.actuator(name).ctrl = target
    mujoco.mj_step(loaded.model, data, round(seconds / loaded.model.opt.timestep))
    return Readings(loaded).position(data)
