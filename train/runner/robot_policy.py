"""A policy for one robot: the check that they fit together, and the observations that the policy is asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets.schema import OBSERVATION_IMAGES, OBSERVATION_STATE
from waldo.datasets.video.images import decode_jpeg
from waldo.errors import FileError, WaldoError
from waldo.files import read_regular
from waldo.json_file import parse_json
from waldo.robots.description import Robot
from waldo.train.policies.contract import Contract, contract_from
from waldo.train.runner.policy_loop import Asker, LoopConfig, PolicyLoop
from waldo.train.serving.inputs import resize
from waldo.typing import Array

DEFAULT_REPLAN_S = 0.5
"""Time between two looks of a policy whose server does not state it [s]."""


class ContractError(WaldoError):
    """A policy that was trained for another robot than the one that it shall command."""

    def __init__(self, policy: str, differences: Sequence[str], do: str = "") -> None:
        """Build the message from the policy, the differences (one line each) and what to do."""
        self.differences = list(differences)
        lines = "".join(f"\n  {line}" for line in differences)
        super().__init__(f"{policy} does not fit the robot, which is not moved:{lines}" + (f"\n{do}" if do else ""))


@dataclass(frozen=True, kw_only=True)
class RobotPolicy:
    """What is known of a policy on a server."""

    name: str
    """Name for messages."""
    contract: Contract
    """What the policy was trained for."""
    images: Mapping[str, tuple[int, int]]
    """Key of each image that it needs -> width and height [px]."""
    replan_s: float
    """Time for which it acts without looking [s]."""
    rtc: bool = False
    """Whether it can continue the actions that are carried out while it infers (real-time chunking)."""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Key of each input -> shape, if the server states them."""
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Key of an observation -> name in a request, for servers with names of their own."""

    def require_robot(self, robot: Robot, cameras: Mapping[str, str]) -> None:
        """Raise ContractError, with all differences, unless the policy was trained for a robot's joints and cameras.

        Args:
            robot: The robot.
            cameras: Key of an image -> camera of the robot that provides it.
        """
        found = self.contract.robot_differences(robot.joint_names)
        for key, shape in self.inputs.items():
            if key == OBSERVATION_STATE and shape not in ((len(robot.joints),), ()):
                found.append(f"it observes {shape[0]} values of the state, the robot has {len(robot.joints)} joints")
            elif key != OBSERVATION_STATE and key not in self.images:
                found.append(f"it needs {key}, which a robot does not provide")
        for key in self.images:
            if key not in cameras:
                name = key.removeprefix(OBSERVATION_IMAGES)
                known = ", ".join(cameras.values()) or "no camera"
                found.append(f"it needs the camera {name}, the robot publishes {known}")
        if found:
            raise ContractError(self.name, found, "choose the policy that was trained for this robot")

    def make_loop(self, robot: Robot, inference: Asker, config: LoopConfig) -> PolicyLoop:
        """Return the loop in which the policy, asked through `inference`, drives a robot."""
        return PolicyLoop(
            robot,
            inference,
            self.observation,
            fps=self.contract.fps,
            replan_s=self.replan_s,
            cameras=tuple(self.images),
            rtc=self.rtc,
            config=config,
        )

    def observation(self, position: Array, images: Mapping[str, Any], task: str) -> dict[str, Any]:
        """Return the observation for a request.

        Args:
            position: Joint positions, (joints,) [rad or m].
            images: Key -> encoded image.
            task: The instruction.

        Raises:
            ImageError: If an image cannot be decoded.
            WireError: If an image has another aspect ratio than those of the training.
        """
        found: dict[str, Any] = {OBSERVATION_STATE: np.asarray(position, dtype=np.float32)}
        for key, size in self.images.items():
            found[key] = resize(key, decode_jpeg(images[key]), size)
        named = {self.renamed.get(key, key): value for key, value in found.items()}
        return {**named, "task": task, "prompt": task}


def robot_policy(
    metadata: Mapping[str, Any],
    url: str,
    *,
    contract_file: Path | None = None,
    renamed: Mapping[str, str] | None = None,
) -> RobotPolicy:
    """Return what a server's metadata state about its policy.

    Args:
        metadata: The metadata.
        url: Address of the server, for messages.
        contract_file: File with the contract, for a server that does not state one.
        renamed: Key of an observation -> name in a request.

    Raises:
        ContractError: If there is no contract.
        FileError: If the file cannot be read.
    """
    name = str(metadata.get("policy") or url)
    values: Any = metadata.get("contract")
    if contract_file is not None:
        try:
            values = parse_json(read_regular(contract_file))
            if not isinstance(values, dict):
                raise ValueError("no JSON object")
        except (OSError, ValueError) as error:
            do = 'write JSON with "fps", "joints", "state", "unit" and "cameras", as waldo.json of a checkpoint'
            raise FileError(contract_file, f"is not a contract ({error})", do) from error
    if not isinstance(values, Mapping):
        do = "write them into a file like waldo.json of a checkpoint and pass --contract FILE"
        raise ContractError(name, ["the server does not state the joints, units and rate of its actions"], do)
    contract = contract_from(values)
    images = _shapes(metadata.get("images"), 2)
    inputs = _shapes(metadata.get("inputs"))
    replan = metadata.get("replan_after")
    return RobotPolicy(
        name=name,
        contract=contract,
        images=dict(contract.cameras) if images is None else {key: (one[0], one[1]) for key, one in images.items()},
        inputs=inputs or {},
        replan_s=replan / contract.fps if isinstance(replan, int) and replan > 0 else DEFAULT_REPLAN_S,
        rtc=metadata.get("real_time_chunking") is True,
        renamed=renamed or {},
    )


def _shapes(found: Any, length: int | None = None) -> dict[str, tuple[int, ...]] | None:
    """Return key -> sizes from a server's metadata; None if they are not a map of such."""
    if not isinstance(found, dict):
        return None
    shapes = {str(key): tuple(one) for key, one in found.items() if isinstance(one, list)}
    good = all(
        all(type(size) is int and size > 0 for size in shape) and length in (None, len(shape))
        for shape in shapes.values()
    )
    return shapes if good and len(shapes) == len(found) else None
