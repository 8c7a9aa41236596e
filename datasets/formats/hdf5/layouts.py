"""Layouts of HDF5 with one episode per file: ALOHA, which RDT uses as well, and RoboTwin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from waldo.datasets.schema import COMMAND, STATE

ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
"""Joints of one arm in ALOHA's order."""

ALOHA_LABELS: Mapping[int, tuple[str, ...]] = {
    14: tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ARM)
}
"""Number of joints -> their names."""

ROBOTWIN_PARTS = ("left_arm", "left_gripper", "right_arm", "right_gripper")
"""Datasets that `joint_action/vector` is composed of, in order."""

RDT_INSTRUCTION = "expanded_instruction_gpt-4-turbo.json"
"""File with the instruction of a folder of RDT's episodes."""

LARGEST_TEXT = 1_000_000
"""Largest file with instructions that is read [bytes]."""

type Shapes = Mapping[str, Sequence[int]]
"""Path of a dataset -> its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names and meaning of the datasets of one episode."""

    format: str
    """Name of the format."""
    title: str
    """Name for messages."""
    fps: float
    """Row rate, which the files do not state [Hz]."""
    presets: Mapping[str, tuple[str, str, str]]
    """Path of a dataset -> stream, field and unit."""
    per_row: tuple[str, ...]
    """Beginnings of the paths of datasets with one entry per row; others may have any length."""
    prefixes: tuple[str, ...]
    """Beginnings of paths that do not become part of stream names."""
    suffixes: tuple[str, ...]
    """Ends of paths that do not become part of stream names."""
    instructions: tuple[str, ...]
    """Datasets with the instruction, in order of preference."""
    labels: Callable[[str, Shapes], tuple[str, ...]]
    """Function (path, shapes) -> names of the values of a preset dataset; empty if unknown."""
    instruction_of: Callable[[Path], str]
    """Function (file) -> instruction beside the file; empty if there is none."""
    swapped: bool = False
    """Whether red and blue are swapped in encoded images."""
    depth_m: float = 1.0
    """Length of one unit of depth that is stored as floats [m]."""
    next_state: str = ""
    """Dataset of positions whose next row is the command of a row, in a layout without commands."""


def _aloha_labels(path: str, shapes: Shapes) -> tuple[str, ...]:
    return ALOHA_LABELS.get(shapes[path][-1], ())


def _robotwin_labels(path: str, shapes: Shapes) -> tuple[str, ...]:
    """Return the names of RoboTwin's joints: "left_arm.0" ... "left_gripper" ..."""
    found: list[str] = []
    for part in ROBOTWIN_PARTS:
        shape = shapes.get(f"joint_action/{part}")
        if shape is None:
            continue
        found += [part] if len(shape) == 1 else [f"{part}.{number}" for number in range(shape[-1])]
    return tuple(found) if len(found) == shapes[path][-1] else ()


def _rdt_instruction(file: Path) -> str:
    return _text(_object(file.parent / RDT_INSTRUCTION).get("instruction"))


def _robotwin_instruction(file: Path) -> str:
    """Return the first instruction of the file that RoboTwin writes beside its folder `data`."""
    return _text(_object(file.parent.parent / "instructions" / f"{file.stem}.json").get("seen"))


def _object(path: Path) -> Mapping[str, object]:
    """Return the JSON object in a file; empty if there is none."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_TEXT:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    """Return a text, or the first one of a list of texts."""
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else ""


ALOHA = Layout(
    format="aloha",
    title="ALOHA",
    fps=50.0,
    presets={
        "observations/qpos": (STATE, "position", "rad"),
        "observations/qvel": (STATE, "velocity", "rad/s"),
        "observations/effort": (STATE, "effort", ""),
        "action": (COMMAND, "position", "rad"),
    },
    per_row=("observations/", "action", "base_action"),
    prefixes=("observations/images/", "observations/"),
    suffixes=(),
    instructions=("language_raw", "language_instruction", "instruction", "observations/language"),
    labels=_aloha_labels,
    instruction_of=_rdt_instruction,
)
"""ALOHA; its control period is 0.02 s."""

ROBOTWIN = Layout(
    format="robotwin",
    title="RoboTwin",
    fps=16.0,
    presets={"joint_action/vector": (STATE, "position", "rad")},
    per_row=("observation/", "joint_action/", "endpose/", "pointcloud"),
    prefixes=("observation/",),
    suffixes=("/rgb",),
    instructions=("language_raw", "instruction"),
    labels=_robotwin_labels,
    instruction_of=_robotwin_instruction,
    swapped=True,
    depth_m=0.001,
    next_state="joint_action/vector",
)
"""RoboTwin, whose writer passes RGB images to an encoder that expects BGR, and stores depth in millimeters."""
