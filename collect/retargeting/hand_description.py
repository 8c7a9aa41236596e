"""A robot's hand or gripper for retargeting, described in one YAML file of `hands/`."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from waldo.collect.devices.tracking import JOINT_NAMES, Side
from waldo.collect.retargeting.arms import read_mapping
from waldo.errors import FileError, InvalidValueError, UnknownNameError
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class HandVector:
    """A vector between two points of the hand that follows one between two joints of the operator's hand."""

    robot: tuple[str, str]
    """Names of the two points in `HandDescription.points`."""
    human: tuple[str, str]
    """Names of the two joints of the operator's hand, as in WebXR."""
    length_m: float = 0.0
    """Length of the robot's straight finger [m]: the operator's vector is scaled to it by the length of the operator's
    finger; 0 for a vector that is not scaled."""
    weight: float = 1.0
    """Weight of the vector."""
    contact_m: float | None = None
    """Distance of the two points when the fingers touch [m], for a pinch; None for a vector that is not a pinch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandDescription:
    """A hand of one side. A gripper has no points: only the opening of its one joint follows the operator."""

    name: str
    side: Side
    joints: tuple[str, ...] = ()
    """Commanded joints, as in the robot's description."""
    base: str = ""
    """Body of the MJCF in whose frame vectors are compared."""
    fingers_axis: tuple[float, ...] = (1.0, 0.0, 0.0)
    """Direction of the straight fingers in the base's frame."""
    palm_axis: tuple[float, ...] = (0.0, 0.0, -1.0)
    """Direction out of the palm in the base's frame."""
    points: Mapping[str, str]
    """Name of a point -> body or geom of the MJCF, as "body NAME" or "geom NAME"."""
    vectors: tuple[HandVector, ...] = ()
    open: tuple[float, ...] = ()
    """Joint positions of the open hand [rad], for a controller's trigger."""
    closed: tuple[float, ...] = ()
    """Joint positions of the closed hand [rad], for a controller's trigger."""
    pinch_closed_m: float = 0.02
    """Distance between the tips of the operator's thumb and index finger at which they touch [m]; the joints that a
    headset reports lie within the fingertips."""
    pinch_open_m: float = 0.09
    """Distance between these tips at which a gripper is fully open [m]."""

    @property
    def base_from_canonical(self) -> Array:
        """Rotation (3, 3) from the axes of `hand_frame` (x along the fingers, z out of the palm) to the base's."""
        x, z = (np.array(axis, dtype=float) / np.linalg.norm(axis) for axis in (self.fingers_axis, self.palm_axis))
        return np.column_stack([x, np.cross(z, x), z])


def load_hand(name: str, side: Side) -> HandDescription:
    """Return the description of a hand.

    Args:
        name: Name of a file in `hands/` without its suffix, or the path of a YAML file.
        side: Side of the hand; replaces "{side}" in the file.

    Raises:
        UnknownNameError: If no hand has this name, or the file names an unknown key or joint of the operator's hand.
        FileError: If the file cannot be read.
        InvalidValueError: If the file contradicts itself.
    """
    folder = Path(str(importlib.resources.files("waldo.collect.retargeting"))) / "hands"
    file = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not file.is_file():
        if file.parent == folder:
            raise UnknownNameError("hand", name, [path.stem for path in folder.glob("*.yaml")])
        raise FileError(file, "no such file", "give the path of a YAML file with a hand")
    values = dict(_for_side(read_mapping(file), side))
    _require_known(f"key of {file}", values, HandDescription, {"name", "side"})
    vectors = [_vector(file, one) for one in values.pop("vectors", ())]
    points = values.pop("points", {})
    lists: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    hand = HandDescription(name=file.stem, side=side, points=points, vectors=tuple(vectors), **lists)
    for vector in hand.vectors:
        for point in vector.robot:
            if point not in hand.points:
                raise UnknownNameError(f"point of {file}", point, hand.points)
    for key in ("open", "closed"):
        if len(getattr(hand, key)) != len(hand.joints):
            raise InvalidValueError(
                f"{key} of {file}", getattr(hand, key), f"{len(hand.joints)} positions, one for each joint"
            )
    return hand


def _vector(file: Path, values: Mapping[str, Any]) -> HandVector:
    _require_known(f"key of a vector of {file}", values, HandVector, set())
    for joint in values["human"]:
        if joint not in JOINT_NAMES:
            raise UnknownNameError("joint of a hand in WebXR", joint, JOINT_NAMES)
    lists: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return HandVector(**lists)


def _require_known(kind: str, values: Mapping[str, Any], of: type, without: set[str]) -> None:
    known = {field.name for field in fields(of)} - without
    for key in values:
        if key not in known:
            raise UnknownNameError(kind, key, known)


def _for_side(value: Any, side: Side) -> Any:
    """Return a value of the file with "{side}" replaced, and with the entry of the side where both are given."""
    if isinstance(value, str):
        return value.replace("{side}", side)
    if isinstance(value, dict):
        if set(value) == {"left", "right"}:
            return _for_side(value[side], side)
        return {key: _for_side(one, side) for key, one in value.items()}
    return [_for_side(one, side) for one in value] if isinstance(value, Sequence) else value
