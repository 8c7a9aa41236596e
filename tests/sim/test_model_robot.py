"""MJCF models as robots, from a file or from MuJoCo Menagerie."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.sim.mjcf.test_robot_model import URDF
from waldo.errors import FileError, InvalidValueError
from waldo.robots.description import load_robot
from waldo.robots.driver import SimulatedDriver, load_driver
from waldo.sim import menagerie
from waldo.sim.model_robot import ModelDriver
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
    ("actuator", "note"),
    [
        ("", "has no actuators; position control of 1 joint is assumed"),
        (
            SERVO + '<muscle name="biceps" joint="hip" lengthrange="0 1"/>',
            "actuator 'biceps' is not a position, velocity or torque actuator (gain muscle, bias muscle, dynamics "
            "muscle); it is not commanded",
        ),
    ],
)
def test_an_assumed_drive_and_an_actuator_without_target_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], actuator: str, note: str
) -> None:
    path = tmp_path / "odd.xml"
    path.write_text(MODEL.format(actuator=actuator))
    driver = ModelDriver(dataclasses.replace(load_robot(str(path)), cameras=()))
    driver.connect()
    assert capsys.readouterr().err == f"waldo: {path}: {note}\n"


def test_a_model_with_other_joints_than_the_robot_is_rejected(model: Path, tmp_path: Path) -> None:
    robot = load_robot(str(model))
    model.write_text(model.read_text().replace('"hip"', '"knee"'))
    with pytest.raises(InvalidValueError) as error:
        ModelDriver(robot)
    assert str(error.value) == f"mjcf is {str(model)!r}, expected a model with the joints hip; it has knee"


DOG = """
<mujoco><compiler angle="radian"/><option timestep="{timestep}"/><worldbody>
  <body name="trunk" pos="0 0 1"><freejoint/><geom type="box" size=".2 .1 .05" mass="4"/>
    <body pos="0 0 -.1"><joint name="lift" type="slide" axis="0 0 1" range="-.1 .1" limited="true"/>
      <geom type="box" size=".2 .1 .05" pos="0 0 -.2" mass="1"/></body></body></worldbody>
  <actuator><motor joint="lift" ctrlrange="-300 300"/></actuator>
  <keyframe><key name="down" qpos="0 0 .3 1 0 0 0 0.1"/>
  <key name="home" qpos="1 2 .4 1 0 0 0 .05"/></keyframe></mujoco>"""


@pytest.mark.parametrize("timestep", [0.0005, 0.003, 0.01])
def test_a_floating_robot_stands_at_home_on_a_floor_with_any_time_step(tmp_path: Path, timestep: float) -> None:
    path = tmp_path / "dog.xml"
    path.write_text(DOG.format(timestep=timestep))
    driver = ModelDriver(load_robot(str(path)))
    driver.connect()
    assert driver.robot.home.tolist() == [0.05]
    names, start = driver.environment()
    assert names == tuple(f"trunk.{part}" for part in ("x", "y", "z", "qw", "qx", "qy", "qz"))
    np.testing.assert_allclose(start, [1, 2, 0.4, 1, 0, 0, 0])
    for _ in range(120):
        driver.advance()
    np.testing.assert_allclose(driver.environment()[1], start, atol=0.015)
    assert driver.read().position[0] == pytest.approx(0.05, abs=0.015)
    driver.write(np.array([0.0]))
    for _ in range(60):
        driver.advance()
    driver.reset(1)
    np.testing.assert_allclose(driver.environment()[1], start)
    assert driver.read().position[0] == 0.05


def test_a_filtered_drive_starts_at_rest(tmp_path: Path) -> None:
    path = tmp_path / "slow.xml"
    key = '<keyframe><key qpos="0.5"/></keyframe></mujoco>'
    slow = '<position joint="hip" kp="900" kv="30" timeconst="0.2"/>'
    path.write_text(MODEL.format(actuator=slow).replace("</mujoco>", key))
    driver = ModelDriver(dataclasses.replace(load_robot(str(path)), cameras=()))
    driver.connect()
    for _ in range(30):
        driver.advance()
    assert driver.read().position[0] == pytest.approx(0.5, abs=0.01)


def test_a_urdf_is_a_robot(tmp_path: Path) -> None:
    path = tmp_path / "arm.urdf"
    path.write_text(URDF)
    assert load_robot(str(path)).joint_names == ("shoulder", "elbow")


def test_a_missing_or_invalid_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        load_robot(str(tmp_path / "none.xml"))
    assert str(error.value) == f"{tmp_path / 'none.xml'}: no such file; give the path of an MJCF or URDF file"
    (tmp_path / "text.xml").write_text("hello")
    with pytest.raises(FileError, match=r"is not a model that MuJoCo can load \("):
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


@pytest.mark.parametrize("name", ["bi_so101", "bi_openarm", "vx300s", "aloha", "g1_dex3", "g1_inspire"])
def test_robots_without_a_task_are_simulated_alone(name: str) -> None:
    robot = load_robot(name)
    driver = ModelDriver(robot)
    target = robot.home + 0.1 * (robot.upper - robot.home)
    for _ in range(240):
        driver.write(target)
        driver.advance()
    assert float(np.abs(driver.read().position - target).max()) < 0.15
    sensors = driver.motors()
    known = all(joint.motor.thermal is not None for joint in robot.joints)
    assert np.isfinite(sensors.winding_c).all() == known
    if known:
        assert sensors.winding_c.max() > 25.0
        assert np.isfinite(sensors.current_a).all()
    driver.disconnect()
