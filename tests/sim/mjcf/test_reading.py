"""Reading of model files: names, included files, errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from waldo.errors import FileError
from waldo.sim.mjcf.reading import compile_spec, read_spec

CUBE = (
    "\n".join(f"v {x} {y} {z}" for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (-0.1, 0.1))
    + "\nf 1 2 4\nf 1 4 3\nf 5 8 6\nf 5 7 8\nf 1 5 6\nf 1 6 2\nf 3 4 8\nf 3 8 7\nf 1 3 7\nf 1 7 5\nf 2 6 8\nf 2 8 4\n"
)


def test_cameras_and_joints_have_names(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("""
    <mujoco><worldbody>
      <camera/> <camera name="wrist-cam"/> <site name="s"/>
      <body><joint/><geom size=".1"/><body><joint name="joint1"/><geom size=".1"/><body><joint/><geom size=".1"/>
      </body></body></body></worldbody>
      <sensor><camprojection camera="wrist-cam" site="s"/><framepos objtype="site" objname="s" reftype="camera"
        refname="wrist-cam"/></sensor></mujoco>""")
    model = compile_spec(read_spec(path), path)
    assert [model.camera(i).name for i in range(model.ncam)] == ["camera0", "wrist_cam"]
    assert [model.joint(i).name for i in range(model.njnt)] == ["joint0", "joint1", "joint2"]
    assert model.nsensor == 2


def test_included_files_and_meshes_are_found_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "robot" / "meshes").mkdir(parents=True)
    (tmp_path / "robot" / "meshes" / "cube.obj").write_text(CUBE)
    (tmp_path / "robot" / "arm.xml").write_text("""
    <mujocoinclude><body><joint name="hip" axis="0 1 0"/><geom type="mesh" mesh="cube"/></body></mujocoinclude>""")
    path = tmp_path / "robot" / "scene.xml"
    path.write_text("""
    <mujoco><compiler meshdir="meshes"/><asset><mesh name="cube" file="cube.obj"/></asset>
      <worldbody><include file="arm.xml"/></worldbody></mujoco>""")
    monkeypatch.chdir(tmp_path)
    for name in (path, path.relative_to(tmp_path)):
        assert compile_spec(read_spec(name), name).joint(0).name == "hip"


def test_the_meshes_of_a_urdf_are_found_by_their_package_and_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "ws" / "arm_description" / "meshes").mkdir(parents=True)
    (tmp_path / "ws" / "arm_description" / "urdf").mkdir()
    (tmp_path / "ws" / "arm_description" / "meshes" / "cube.obj").write_text(CUBE)
    (tmp_path / "ws" / "arm_description" / "urdf" / "own.obj").write_text(CUBE)
    path = tmp_path / "ws" / "arm_description" / "urdf" / "arm.urdf"
    path.write_text("""
    <robot name="arm"><link name="base">
      <collision><geometry><mesh filename="package://arm_description/meshes/cube.obj"/></geometry></collision>
      <collision><geometry><mesh filename="own.obj"/></geometry></collision></link></robot>""")
    assert compile_spec(read_spec(path), path).nmesh == 2
    path.write_text(path.read_text().replace("arm_description", "other"))
    with pytest.raises(FileError, match=r"Error opening file 'other/meshes/cube.obj'"):
        compile_spec(read_spec(path), path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "XML"),
        ("<mujocoinclude/>", "mujocoinclude"),
        ('<mujoco><asset><mesh file="none.obj"/></asset></mujoco>', "none.obj"),
        (
            '<mujoco><worldbody/><keyframe><key qpos="1 2"/></keyframe></mujoco>',
            "invalid qpos size, expected 0, got 2",
        ),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "odd.xml"
    path.write_text(text)
    with pytest.raises(FileError) as error:
        compile_spec(read_spec(path), path)
    message = str(error.value)
    assert message.startswith(f"{path}: is not a model that MuJoCo can load (")
    assert reason in message
    assert "\n" not in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        read_spec(tmp_path / "none.xml")
    assert str(error.value) == f"{tmp_path / 'none.xml'}: no such file; give the path of an MJCF or URDF file"
