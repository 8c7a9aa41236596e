"""The floor below a floating robot."""

from __future__ import annotations

from pathlib import Path

import mujoco
import pytest

from tests.sim.mjcf.mjcf_models import RADIAN_ARM, arm, load
from waldo.sim.mjcf.floor import add_floor, lowest_point, needs_floor
from waldo.sim.mjcf.home import home_data

WALKER = """
<mujoco><worldbody>{world}<body name="trunk" pos="0 0 .5"><freejoint/><geom type="box" size=".2 .1 .05" mass="4"/>
  <geom size=".01" pos="0 0 -.9" contype="0" conaffinity="0" mass="0"/>
  <body pos="0 0 -.1"><joint name="hip" type="slide" axis="0 0 1" range="-.1 .1" limited="true"/>
    <geom type="box" size=".2 .1 .05" pos="0 0 -.2" mass="1"/></body></body></worldbody>
  <actuator><motor joint="hip"/></actuator></mujoco>"""


def test_the_floor_is_below_the_lowest_geom_that_touches(tmp_path: Path) -> None:
    loaded = load(tmp_path, WALKER.format(world=""))
    assert needs_floor(loaded.model, loaded.drives)
    data = home_data(loaded.model)
    assert lowest_point(loaded.model, data) == pytest.approx(-0.41)
    assert lowest_point(loaded.model, data, colliding=True) == pytest.approx(0.15)
    add_floor(loaded.spec, loaded.model, data)
    model = loaded.spec.compile()
    data = home_data(model)
    mujoco.mj_step(model, data, 500)
    assert data.body("trunk").xpos[2] == pytest.approx(0.5, abs=0.01)


def test_a_model_with_a_floor_or_a_fixed_base_needs_none(tmp_path: Path) -> None:
    standing = load(tmp_path, WALKER.format(world='<geom type="plane" size="1 1 1"/>'))
    assert not needs_floor(standing.model, standing.drives)
    fixed = arm(tmp_path, '<motor joint="hip"/>', RADIAN_ARM)
    assert not needs_floor(fixed.model, fixed.drives)
