"""An MJCF or URDF file as a spec whose joints and cameras have names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from waldo.errors import FileError
from waldo.sim.engine import Element, Model, Spec, mujoco
from waldo.sim.mjcf.names import unique_topic_names


def read_spec(path: Path) -> Spec:
    """Return the spec of a file. Unnamed joints and cameras are numbered; cameras have names that topics may have.

    Raises:
        FileError: If MuJoCo cannot read the file.
    """
    if not path.is_file():
        raise FileError(path, "no such file", "give the path of an MJCF or URDF file")
    try:
        spec = _parse(path)
    except ValueError as error:
        raise _unusable(path, error) from error
    taken = {joint.name for joint in spec.joints}
    for number, joint in enumerate(spec.joints):
        if not joint.name:
            joint.name = next(
                name for n in range(number, 2 * len(taken) + number + 1) if (name := f"joint{n}") not in taken
            )
            taken.add(joint.name)
    cameras = unique_topic_names([camera.name for camera in spec.cameras], "camera")
    rename(spec, mujoco.mjtObj.mjOBJ_CAMERA, dict(zip(spec.cameras, cameras, strict=True)))
    return spec


def _parse(path: Path) -> Spec:
    """Return the spec of a file; meshes of a URDF that are named by their ROS package are found above the file."""
    if path.suffix.lower() != ".urdf":
        return mujoco.MjSpec.from_file(str(path))
    above = path.absolute().parents

    def find(match: re.Match[str]) -> str:
        candidates = [folder / match[1] for folder in above]
        return f"{next((folder for folder in candidates if folder.is_dir()), match[1])}/"

    spec = mujoco.MjSpec.from_string(re.sub(r"package://([^/\"]+)/", find, path.read_text()))
    spec.modelfiledir = str(path.absolute().parent)
    return spec


def compile_spec(spec: Spec, path: Path) -> Model:
    """Return the compiled model of a file.

    Raises:
        FileError: If MuJoCo cannot compile it.
    """
    try:
        return spec.compile()
    except ValueError as error:
        raise _unusable(path, error) from error


def rename(spec: Spec, kind: object, names: Mapping[Element, str]) -> None:
    """Rename elements of one kind, and the references of sensors to them, which MuJoCo stores by name.

    Args:
        spec: The spec.
        kind: MuJoCo's object type of the elements.
        names: Element -> new name.
    """
    changed = {element.name: name for element, name in names.items() if element.name and element.name != name}
    for element, name in names.items():
        element.name = name
    for sensor in spec.sensors if changed else ():
        if sensor.objtype == kind:
            sensor.objname = changed.get(sensor.objname, sensor.objname)
        if sensor.reftype == kind:
            sensor.refname = changed.get(sensor.refname, sensor.refname)


def _unusable(path: Path, error: ValueError) -> FileError:
    return FileError(path, f"is not a model that MuJoCo can load ({' '.join(str(error).split())})")
