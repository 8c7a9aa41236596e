"""The rewritten model moves as that of the file, in other units."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from tests.sim.mjcf.mjcf_models import PANDA_HAND, RADIAN_ARM, ROBOTIQ_2F85, arm, load
from waldo.robots.description import load_robot
from waldo.sim.mjcf.robot_model import load_robot_model

SCALED = RADIAN_ARM.format(
    '<general name="a" joint="hip" gear="3" gainprm="2" biastype="affine" biasprm="1 -10 -.5" forcerange="-4 8" '
    'armature=".2" damping=".1"/><position name="b" joint="knee" kp="5" gear="-2" timeconst=".1"/>'
)


@pytest.mark.parametrize(
    ("text", "controls", "targets"),
    [
        (PANDA_HAND, [200.0], [200 * 0.01568627451 / 100]),
        (ROBOTIQ_2F85, [100.0], [100 * 0.3137255 / 100]),
        (SCALED, [4.0, 0.5], [(2 * 4 + 1) / 30, 0.5 / -2]),
    ],
    ids=["panda hand", "robotiq 2f85", "gears"],
)
def test_the_motion_is_that_of_the_file(tmp_path: Path, text: str, controls: list[float], targets: list[float]) -> None:
    original = mujoco.MjModel.from_xml_string(text)
    loaded = load(tmp_path, text)
    expected, data = mujoco.MjData(original), mujoco.MjData(loaded.model)
    expected.ctrl[:] = controls
    for name, target in zip(loaded.names, targets, strict=True):
        data.actuator(name).ctrl = target
    for _ in range(300):
        mujoco.mj_step(original, expected)
        mujoco.mj_step(loaded.model, data)
        np.testing.assert_allclose(data.qpos, expected.qpos, atol=1e-9)
    assert np.abs(expected.qpos).max() > 0.01


@pytest.mark.parametrize("name", ["so101", "g1"])
def test_a_model_of_position_servos_is_not_changed(name: str) -> None:
    path = load_robot(name).mjcf_path
    original, model = mujoco.MjModel.from_xml_path(str(path)), load_robot_model(path).model
    for field in ("gainprm", "biasprm", "ctrlrange", "forcerange", "gear"):
        np.testing.assert_array_equal(getattr(model, f"actuator_{field}"), getattr(original, f"actuator_{field}"))
    assert model.opt.integrator == original.opt.integrator


def test_sensors_follow_a_renamed_actuator(tmp_path: Path) -> None:
    text = RADIAN_ARM.format('<position name="servo" joint="hip"/>').replace(
        "</mujoco>", '<sensor><actuatorfrc actuator="servo"/></sensor></mujoco>'
    )
    loaded = load(tmp_path, text)
    assert (loaded.model.actuator(0).name, loaded.model.nsensor) == ("hip", 1)


def test_torque_drives_are_integrated_with_implicit_damping(tmp_path: Path) -> None:
    text = RADIAN_ARM.replace('integrator="implicitfast"', 'integrator="Euler"')
    assert arm(tmp_path, '<motor joint="hip"/>', text).model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert arm(tmp_path, '<position joint="hip"/>', text).model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER


def test_a_tendon_with_the_name_of_a_joint_is_marked(tmp_path: Path) -> None:
    text = RADIAN_ARM.format('<position tendon="hip"/><position joint="hip"/>').replace(
        "<actuator>",
        '<tendon><fixed name="hip"><joint joint="hip" coef="1"/><joint joint="knee" coef="1"/></fixed>'
        "</tendon><actuator>",
    )
    assert load(tmp_path, text).names == ("hip_tendon", "hip")


URDF = """
<robot name="arm">
  <link name="base"><collision><geometry><sphere radius=".1"/></geometry></collision></link>
  <link name="upper"><inertial><mass value="1"/><inertia ixx=".01" iyy=".01" izz=".01" ixy="0" ixz="0" iyz="0"/>
    </inertial></link>
  <link name="lower"><inertial><mass value="1"/><inertia ixx=".01" iyy=".01" izz=".01" ixy="0" ixz="0" iyz="0"/>
    </inertial><collision><geometry><sphere radius=".1"/></geometry></collision></link>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="1" effort="12" velocity="3"/></joint>
  <joint name="elbow" type="revolute"><parent link="upper"/><child link="lower"/><origin xyz="0 0 .05"/>
    <axis xyz="0 1 0"/><limit lower="-2" upper="2" effort="5" velocity="3"/></joint>
</robot>"""


def test_a_urdf_is_driven_within_its_efforts_and_its_links_may_overlap(tmp_path: Path) -> None:
    loaded = load(tmp_path, URDF, "arm.urdf")
    assert loaded.names == ("shoulder", "elbow")
    assert [drive.efforts for drive in loaded.drives] == [(-12.0, 12.0), (-5.0, 5.0)]
    assert loaded.model.nexclude == 1
    data = mujoco.MjData(loaded.model)
    mujoco.mj_forward(loaded.model, data)
    assert data.ncon == 0
