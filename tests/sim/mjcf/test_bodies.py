"""Poses of floating bodies."""

from __future__ import annotations

import mujoco
import numpy as np

from waldo.sim.mjcf.bodies import FreeBodies


def test_every_floating_body_has_a_named_pose() -> None:
    model = mujoco.MjModel.from_xml_string("""
    <mujoco><worldbody><body name="cube"><freejoint/><geom size=".1"/></body>
      <body><joint/><geom size=".1"/></body><body><freejoint/><geom size=".1"/></body></worldbody></mujoco>""")
    bodies, data = FreeBodies(model), mujoco.MjData(model)
    data.qpos[:7] = [1, 2, 3, -0.6, 0, 0.8, 0]
    assert bodies.names[0::7] == ("cube.x", "body3.x")
    assert bodies.names[3] == "cube.qw"
    np.testing.assert_allclose(bodies.poses(data)[:7], [1, 2, 3, 0.6, 0, -0.8, 0])
    assert FreeBodies(mujoco.MjModel.from_xml_string("<mujoco/>")).names == ()
