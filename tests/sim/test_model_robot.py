"""MJCF models as robots, from a file or from MuJoCo Menagerie."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from waldo.errors import FileError
from waldo.robots.description import load_robot
from waldo.robots.driver import SimulatedDriver, load_driver
from waldo.sim import menagerie
from waldo.sim.twin import stamp_of

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
    """An arm with one joint."""
    path = tmp_path / "toy.xml"
    path.write_text(MODEL.format(actuator=SERVO))
    return path


def test_a_model_is_described_by_its_joints_and_actuators(model: Path) -> None:
    robot = load_robot(str(model))
    (joint,) = robot.joints
    assert (robot.name, joint.name, joint.lower, joint.upper, joint.effort) == ("toy", "hip", -1.0, 1.0, 50.0)
    assert joint.motor.thermal is None
    assert [camera.name for camera in robot.cameras] == ["side"]


@pytest.mark.usefixtures("gl")
def test_the_driver_moves_the_joint_and_reports_no_temperature(model: Path) -> None:
    driver = load_driver("model")(load_robot(str(model)))
    assert isinstance(driver, SimulatedDriver)
    driver.connect()
    for _ in range(120):
        np.testing.assert_array_equal(driver.write(np.array([3.0])), [1.0])
        driver.advance()
    assert driver.read().position[0] == pytest.approx(1.0, abs=0.1)
    assert driver.read().stamp_ns == 2_000_000_000
    assert np.isnan(driver.motors().winding_c).all()
    assert len(driver.frames()) == 60  # the last image is delivered by the next exposure
    driver.reset(1)
    assert driver.read().position[0] == 0.0
    for _ in range(4):
        driver.advance()
    assert [frame.stamp_ns for frame in driver.frames()] == [stamp_of(122)], "none from before the reset"
    driver.disconnect()


@pytest.mark.parametrize(
    ("actuator", "message"),
    [
        ("", "has no actuators; use a model with position actuators"),
        (
            '<motor name="torque" joint="hip"/>',
            "actuator 'torque' is not a position actuator; waldo supports joint position actuators only",
        ),
    ],
)
def test_a_model_without_position_actuators_is_rejected(tmp_path: Path, actuator: str, message: str) -> None:
    path = tmp_path / "odd.xml"
    path.write_text(MODEL.format(actuator=actuator))
    with pytest.raises(FileError) as error:
        load_robot(str(path))
    assert str(error.value) == f"{path}: {message}"


def test_a_missing_or_invalid_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        load_robot(str(tmp_path / "none.xml"))
    assert str(error.value) == f"{tmp_path / 'none.xml'}: no such file; give the path of an MJCF file"
    (tmp_path / "text.xml").write_text("hello")
    with pytest.raises(FileError, match=r"is not an MJCF model \("):
        load_robot(str(tmp_path / "text.xml"))


@pytest.fixture
def upstream(tmp_path: Path, model: Path) -> Path:
    """A git repository with the layout of Menagerie."""
    root = tmp_path / "upstream"
    (root / "vendor_toy").mkdir(parents=True)
    for name in ("toy.xml", "toy_with_hand.xml", "scene.xml", "toy_mjx.xml"):
        (root / "vendor_toy" / name).write_text(model.read_text())
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "config", "uploadpack.allowFilter", "true"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "models"], check=True)
    return root


def test_a_local_checkout_of_menagerie_is_used(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(menagerie.CHECKOUT, str(upstream))
    assert load_robot("menagerie:vendor_toy").mjcf_path == upstream / "vendor_toy" / "toy.xml"
    with pytest.raises(FileError) as error:
        load_robot("menagerie:vendor_toi")
    assert str(error.value).startswith(
        f"{upstream / 'vendor_toi'}: is not a model of MuJoCo Menagerie; see the list of folders"
    )


def test_a_folder_is_downloaded_once(upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(menagerie, "SOURCE", upstream.as_uri())
    path = load_robot("menagerie:vendor_toy").mjcf_path
    assert path.is_relative_to(tmp_path / "home")
    monkeypatch.setattr(menagerie, "SOURCE", "file:///nowhere")
    assert menagerie.find_model("vendor_toy") == path


def test_a_failed_download_names_the_alternatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(menagerie, "SOURCE", "file:///nowhere")
    with pytest.raises(FileError) as error:
        load_robot("menagerie:unitree_g1")
    assert str(error.value).startswith("file:///nowhere: cannot be downloaded (")
    assert str(error.value).endswith("; set MUJOCO_MENAGERIE to a local checkout, or give the path of an MJCF file")
