"""The home pose."""

from __future__ import annotations

import mujoco
import numpy as np

from waldo.sim.mjcf.home import home_data, home_inertia

TEXT = """
<mujoco><worldbody><body name="trunk"><freejoint/><geom size=".1" mass="2"/>
  <body><joint name="hip" axis="0 1 0"/><geom size=".05" mass="1" pos=".3 0 0"/></body></body></worldbody>
  <keyframe>{}</keyframe></mujoco>"""


def test_a_keyframe_places_the_base_as_well() -> None:
    key = '<key name="home" qpos="1 2 .4 1 0 0 0 .5"/>'
    model = mujoco.MjModel.from_xml_string(TEXT.format(key))
    np.testing.assert_allclose(home_data(model).qpos, [1, 2, 0.4, 1, 0, 0, 0, 0.5])
    assert home_data(mujoco.MjModel.from_xml_string(TEXT.format(""))).qpos[2] == 0.0


def test_the_inertia_of_a_joint_is_that_of_what_it_moves() -> None:
    inertia = home_inertia(mujoco.MjModel.from_xml_string(TEXT.format("")))
    assert inertia.shape == (7, 7)
    np.testing.assert_allclose(inertia[6, 6], 0.3**2 + 0.4 * 0.05**2)
