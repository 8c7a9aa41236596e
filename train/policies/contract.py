"""What a policy was trained for, which `waldo train` writes into each checkpoint; LeRobot's own files lack it.

A policy outputs bare numbers. Only their names and their rate make them a command, so any process that runs a policy
compares them with those of the robot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from waldo.datasets.dataset import Dataset
from waldo.datasets.lerobot.columns import labels_of
from waldo.datasets.quality.fingerprint import fingerprint
from waldo.datasets.reading.advantage import without_advantage
from waldo.datasets.schema import ACTION, OBSERVATION_STATE, STATE, has_channels_first
from waldo.errors import WaldoError
from waldo.files import read_regular, write_atomic
from waldo.json_file import parse_json

CONTRACT_FILE = "waldo.json"
"""File in a checkpoint of `waldo train`."""

DEFAULT_FPS = 30.0
"""Actions per second if the training data is unavailable: the default rate of exports."""

EXPORT_FILE = "meta/waldo.json"
"""File of waldo's exports that contains the units of the columns."""

INCREMENT = "increment"
"""Unit of actions that move each joint's target by a fraction of the largest motion, -1 to 1."""

UNIT = "rad"
"""Unit in which robots are commanded."""

POSITION = ".pos"
"""End of the names of joint positions in datasets of LeRobot's own robots."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, OverflowError, AttributeError)
"""Errors of a file that is missing, damaged or of another kind."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a policy was trained for."""

    fps: float = DEFAULT_FPS
    """Rows of the training data per second, which is the rate of the policy's actions [1/s]."""
    joints: tuple[str, ...] = ()
    """Joints of an action, in order; empty if the data does not name them."""
    state: tuple[str, ...] = ()
    """Joints of `observation.state`, in order; empty if the data does not name them."""
    unit: str = ""
    """Unit of the revolute joints in actions and states, "rad"; "increment" for actions that move the targets; empty if
    the data does not state it."""
    increment_rad: float = 0.0
    """Motion of a joint's target by an action of 1, if the unit is "increment" [rad]."""
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict[str, tuple[int, int]]())
    """Key of each camera -> width and height of its images in the training data [px]."""
    instructions: tuple[str, ...] = ()
    """The instructions in the training data, without words about the advantage."""
    advantage: bool = False
    """Whether they state how good an attempt was; the policy is asked for good ones."""
    dataset: str = ""
    """Name of the dataset."""
    episodes: int = 0
    """Number of its episodes."""
    rows: int = 0
    """Number of its rows."""
    sha256: str = ""
    """Fingerprint of the dataset; empty if it is unknown."""

    def joint_differences(self, joints: Sequence[str]) -> list[str]:
        """Return how the joints of the policy differ from those of a robot, one sentence each.

        Names that have nothing in common with the robot's follow another convention and are not compared.
        """
        found: list[str] = []
        for verb, own in (("commands", self.joints), ("observes", self.state)):
            if own and own != tuple(joints) and {*own} & {*joints}:
                found.append(f"it {verb} the joints {', '.join(own)}, the robot has {', '.join(joints)}")
        return found

    def robot_differences(self, joints: Sequence[str]) -> list[str]:
        """Return why the policy cannot command a robot, one sentence each; names must be known and equal.

        Args:
            joints: Joints of the robot, in order.
        """
        found = self.joint_differences(joints)
        for verb, own in (("commands", self.joints), ("observes", self.state)):
            if not own:
                found.append(f"the joints that it {verb} are unknown, the robot has {', '.join(joints)}")
            elif not {*own} & {*joints}:
                found.append(f"it {verb} the joints {', '.join(own)}, the robot has {', '.join(joints)}")
        if self.unit != UNIT:
            found.append(f"its joint positions are in {self.unit or 'an unknown unit'}, those of the robot in {UNIT}")
        return found


def contract_of(metadata: Any) -> Contract:
    """Return the contract of a policy that is trained on a dataset, from LeRobot's metadata of it."""
    features: Mapping[str, Mapping[str, Any]] = metadata.features
    texts = [str(text) for text in metadata.tasks.index]
    return Contract(
        fps=float(metadata.fps),
        joints=_joints(features, ACTION),
        state=_joints(features, OBSERVATION_STATE),
        unit=_unit(metadata.root),
        cameras={key: _size(features[key]) for key in metadata.camera_keys},
        instructions=tuple(dict.fromkeys(without_advantage(text) for text in texts)),
        advantage=any(text != without_advantage(text) for text in texts),
        dataset=str(metadata.repo_id).removeprefix("local/"),
        episodes=int(metadata.total_episodes),
        rows=int(metadata.total_frames),
        sha256=_fingerprint(metadata.root),
    )


def _joints(features: Mapping[str, Mapping[str, Any]], key: str) -> tuple[str, ...]:
    """Return the names of a column's numbers; none if the dataset does not name them."""
    feature = features.get(key, {})
    if not feature.get("names"):
        return ()
    return tuple(name.removesuffix(POSITION) for name in labels_of(feature["names"], feature["shape"], key))


def _fingerprint(root: Any) -> str:
    with suppress(WaldoError, OSError):
        return fingerprint(root)
    return ""


def _unit(root: Any) -> str:
    """Return the unit of the actions of a waldo dataset or of its export; empty if it is unknown."""
    with suppress(*UNREADABLE):
        return str(parse_json(read_regular(root / EXPORT_FILE))["units"][ACTION])
    with suppress(WaldoError):
        for episode in Dataset.open(root).episodes:
            return episode.field(STATE, "position").unit
    return ""


def _size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Return the width and height of a camera."""
    height, width = feature["shape"][1:] if has_channels_first(feature) else feature["shape"][:2]
    return int(width), int(height)


def write_contract(folder: Path, contract: Contract) -> None:
    """Write the contract into a checkpoint."""
    write_atomic(folder / CONTRACT_FILE, json.dumps(asdict(contract), indent=2, ensure_ascii=False) + "\n")


def read_contract(folder: Path) -> Contract:
    """Return the contract of a checkpoint; of one that waldo did not train, what LeRobot's files state."""
    values: dict[str, Any] = {}
    with suppress(*UNREADABLE):
        values = dict(parse_json(read_regular(folder / CONTRACT_FILE)))
    if _rate(values.get("fps")) is None:
        with suppress(*UNREADABLE):
            root = parse_json(read_regular(folder / "train_config.json"))["dataset"]["root"]
            values["fps"] = parse_json(read_regular(Path(root) / "meta" / "info.json"))["fps"]
    return contract_from(values)


def contract_from(values: Mapping[str, Any]) -> Contract:
    """Return the contract that JSON values state; what they lack or state wrongly is unknown."""
    cameras = values.get("cameras")
    return Contract(
        fps=_rate(values.get("fps")) or DEFAULT_FPS,
        joints=_texts(values.get("joints")),
        state=_texts(values.get("state")),
        unit=str(values.get("unit") or ""),
        cameras={str(key): (int(size[0]), int(size[1])) for key, size in cameras.items() if _is_size(size)}
        if isinstance(cameras, dict)
        else {},
        instructions=_texts(values.get("instructions")),
        advantage=values.get("advantage") is True,
        increment_rad=_increment(values.get("increment_rad")),
        dataset=str(values.get("dataset") or ""),
        episodes=_count(values.get("episodes")),
        rows=_count(values.get("rows")),
        sha256=str(values.get("sha256") or ""),
    )


def _rate(value: Any) -> float | None:
    """Return a rate of a file [1/s], None if it cannot be that of a policy."""
    with suppress(*UNREADABLE):
        rate = float(value)
        return rate if 0 < rate < 10_000 else None
    return None


def _increment(value: Any) -> float:
    """Return the motion of an action of 1 [rad]; 0 if a file does not state a possible one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 10 else 0.0


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(values) if isinstance(values, list) and all(isinstance(one, str) for one in values) else ()


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(one) is int and one > 0 for one in value)


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
