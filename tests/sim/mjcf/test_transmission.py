"""What actuators move: joints, coupled joints, tendons."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from tests.sim.mjcf.mjcf_models import PANDA_HAND, RADIAN_ARM, ROBOTIQ_2F85, load
from waldo.sim.mjcf.transmission import coupled, followers_of, transmission_of


@pytest.mark.parametrize(("text", "name"), [(PANDA_HAND, "finger_joint1"), (ROBOTIQ_2F85, "right_driver_joint")])
def test_a_tendon_over_coupled_joints_has_the_position_of_the_first(tmp_path: Path, text: str, name: str) -> None:
    model = mujoco.MjModel.from_xml_string(text)
    found = transmission_of(model, 0)
    assert not isinstance(found, str)
    assert (found.name, found.joint, found.tendon, found.scale, found.offset) == (name, 0, 0, 1.0, 0.0)
    assert found.is_slide == (text == PANDA_HAND)
    np.testing.assert_array_equal(found.motion, [1.0, 1.0])


def test_couplings_are_followed_with_their_slopes_and_references() -> None:
    model = mujoco.MjModel.from_xml_string("""
    <mujoco><compiler angle="radian"/><worldbody>
      <body><joint name="a" ref=".5"/><geom size=".1"/></body><body><joint name="b"/><geom size=".1"/></body>
      <body><joint name="c"/><geom size=".1"/></body><body><joint name="d"/><geom size=".1"/></body></worldbody>
      <equality><joint joint1="b" joint2="a" polycoef="0.1 -2 0 0 0"/><joint joint1="c" joint2="b"/>
        <joint joint1="d" polycoef="1 0 0 0 0"/></equality></mujoco>""")
    # b = 0.1 - 2 (a - 0.5), c = b; d is held and follows no joint.
    assert coupled(model, 0) == {0: (1.0, 0.0), 1: (-2.0, 1.1), 2: (-2.0, 1.1)}
    assert coupled(model, 2)[0] == pytest.approx((-0.5, 0.55))
    assert coupled(model, 3) == {3: (1.0, 0.0)}
    assert followers_of(model) == {1, 2}


def test_a_tendon_over_separate_joints_has_its_length_as_position(tmp_path: Path) -> None:
    text = RADIAN_ARM.format('<position tendon="both" kp="20" dampratio="1"/>').replace(
        "<actuator>",
        '<tendon><fixed name="both" range="-1 2" limited="true"><joint joint="hip" coef="1"/><joint joint="knee" '
        'coef="-2"/></fixed></tendon><actuator>',
    )
    loaded = load(tmp_path, text)
    found = loaded.drives[0].transmission
    assert (loaded.names, found.joint, found.lower, found.upper) == (("both",), -1, -1.0, 2.0)
    assert found.terms == {0: 1.0, 1: -2.0}
    np.testing.assert_allclose(found.motion, [0.2, -0.4])


@pytest.mark.parametrize(
    ("actuator", "reason"),
    [
        ('<motor joint="ball" gear="1 0 0"/>', "drives a ball or free joint"),
        ('<motor site="tip"/>', "acts on a site"),
        ('<adhesion body="foot" ctrlrange="0 1"/>', "acts on a body"),
        ('<motor cranksite="tip" slidersite="rail" cranklength=".1"/>', "drives a slider-crank"),
        ('<motor tendon="rope"/>', "pulls a tendon through space"),
    ],
)
def test_other_transmissions_have_a_reason(actuator: str, reason: str) -> None:
    model = mujoco.MjModel.from_xml_string(f"""
    <mujoco><worldbody><site name="rail"/><body name="foot"><joint name="ball" type="ball"/><geom size=".1"/>
      <site name="tip" pos=".1 0 0"/></body></worldbody>
      <tendon><spatial name="rope"><site site="rail"/><site site="tip"/></spatial></tendon>
      <actuator>{actuator}</actuator></mujoco>""")
    assert transmission_of(model, 0) == reason


def test_a_joint_in_its_parents_frame_is_a_joint() -> None:
    model = mujoco.MjModel.from_xml_string(RADIAN_ARM.format('<position jointinparent="knee"/>'))
    found = transmission_of(model, 0)
    assert not isinstance(found, str)
    assert found.name == "knee"
