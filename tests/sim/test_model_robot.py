"""Any MJCF model as a robot, from a file or from MuJoCo Menagerie."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from waldo.errors import FileError
from waldo.robots.description import load_robot
from waldo.robots.driver import SimulatedDriver, load_driver
from waldo.sim import menagerie

MODEL = """
<mujoco model="toy">
  <compiler angle="radian"/>
  <worldbody>
    <camera name="side" pos="0 -1 .5" xyaxes="1 0 0 0 .4 1"/>
    <body pos="0 0 .5">
      <joint name="hip" axis="0 1 0" range="-1 1"/>
      <geom type="capsule" size=".03" fromto="0 0 0 .3 0 0"/>
    </body>
  </worldbody>
  <actuator>{actuator}</actuator>
</mujoco>
"""
SERVO = '<position name="servo" joint="hip" kp="200" kv="10" forcerange="-50 50"/>'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An arm of one joint."""
    path = tmp_path / "toy.xml"
    path.write_text(MODEL.format(actuator=SERVO))
    return path


def test_a_model_is_described_by_its_joints_and_actuators(model: Path) -> None:
    robot = load_robot(str(model))
    (joint,) = robot.joints
    assert (robot.name, joint.name, joint.lower, joint.upper, joint.effort) == ("toy", "hip", -1.0, 1.0, 50.0)
    assert joint.motor.thermal is None
    assert [camera.name for camera in robot.cameras] == ["side"]


def test_its_driver_moves_it_and_knows_nothing_of_its_heat(model: Path) -> None:
    driver = load_driver("model")(load_robot(str(model)))
    assert isinstance(driver, SimulatedDriver)
    driver.connect()
    for _ in range(120):
        np.testing.assert_array_equal(driver.write(np.array([3.0])), [1.0])
        driver.advance()
    assert driver.read().position[0] == pytest.approx(1.0, abs=0.1)
    assert driver.read().stamp_ns == 2_000_000_000
    assert np.isnan(driver.motors().winding_c).all()
    assert len(driver.frames()) == 61
    driver.reset(1)
    assert driver.read().position[0] == 0.0
    driver.disconnect()


@pytest.mark.parametrize(
    ("actuator", "message"),
    [
        ("", "has no actuators; name a model with position actuators"),
        (
            '<motor name="torque" joint="hip"/>',
            "actuator 'torque' is no position actuator; waldo commands joint positions only",
        ),
    ],
)
def test_what_cannot_be_commanded_is_refused(tmp_path: Path, actuator: str, message: str) -> None:
    path = tmp_path / "odd.xml"
    path.write_text(MODEL.format(actuator=actuator))
    with pytest.raises(FileError) as error:
        load_robot(str(path))
    assert str(error.value) == f"{path}: {message}"


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        load_robot(str(tmp_path / "none.xml"))
    assert str(error.value) == f"{tmp_path / 'none.xml'}: is not there; name an MJCF file"
    (tmp_path / "text.xml").write_text("hello")
    with pytest.raises(FileError, match=r"is not an MJCF model \("):
        load_robot(str(tmp_path / "text.xml"))


@pytest.fixture
def upstream(tmp_path: Path, model: Path) -> Path:
    """A git repository laid out as Menagerie is."""
    root = tmp_path / "upstream"
    (root / "maker_toy").mkdir(parents=True)
    for name in ("toy.xml", "toy_with_hand.xml", "scene.xml", "toy_mjx.xml"):
        (root / "maker_toy" / name).write_text(model.read_text())
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "config", "uploadpack.allowFilter", "true"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "models"], check=True)
    return root


def test_a_local_checkout_of_menagerie_is_used(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(menagerie.CHECKOUT, str(upstream))
    assert load_robot("menagerie:maker_toy").mjcf_path == upstream / "maker_toy" / "toy.xml"
    with pytest.raises(FileError) as error:
        load_robot("menagerie:maker_toi")
    assert str(error.value).startswith(f"{upstream / 'maker_toi'}: is no model of MuJoCo Menagerie; its folders")


def test_a_folder_is_downloaded_once(upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(menagerie, "SOURCE", upstream.as_uri())
    path = load_robot("menagerie:maker_toy").mjcf_path
    assert path.is_relative_to(tmp_path / "home")
    monkeypatch.setattr(menagerie, "SOURCE", "file:///nowhere")
    assert menagerie.find_model("maker_toy") == path


def test_no_network_says_what_else_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(menagerie, "SOURCE", "file:///nowhere")
    with pytest.raises(FileError) as error:
        load_robot("menagerie:unitree_g1")
    assert str(error.value).startswith("file:///nowhere: cannot be downloaded (")
    assert str(error.value).endswith("; set MUJOCO_MENAGERIE to a local checkout, or name an MJCF file")
