"""A LeRobot checkpoint as a policy of many worlds: one forward pass for all, and a queue of actions for each.

policy = LeRobotPolicy("runs/lift/checkpoints/last/pretrained_model")
policy.check(world)                    # raises if the policy needs an input that the world does not provide
targets = policy.act(observation)      # (worlds, joints) [rad]
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from waldo.datasets.reading.advantage import GOOD
from waldo.datasets.schema import ACTION, OBSERVATION_ENVIRONMENT, OBSERVATION_IMAGES, OBSERVATION_STATE
from waldo.errors import FileError, WaldoError
from waldo.sim.evaluation.rollout import ticks_per_action
from waldo.sim.world import CONTROL_HZ
from waldo.train.large_import import large_import
from waldo.train.policies.checkpoint import find_checkpoint
from waldo.train.policies.contract import INCREMENT, read_contract
from waldo.train.policies.increments import Increments
from waldo.train.policies.rtc import DELAY, PREFIX, enable_rtc

if TYPE_CHECKING:
    from waldo.sim.policy import Observation
    from waldo.sim.world import World


class PolicyMismatchError(WaldoError):
    """A policy and a world with different observations or joints."""

    def __init__(self, policy: Path, differences: list[str]) -> None:
        """Build the message from the checkpoint and the differences, one sentence each."""
        self.differences = differences
        super().__init__(
            f"{policy}: does not match this world: {'; '.join(differences)}; "
            "evaluate it on the task that it was trained for"
        )


class LeRobotPolicy:
    """A trained LeRobot policy of any type, for evaluation and the subtask runner."""

    def __init__(self, checkpoint: str | Path, *, device: str = "cpu", threads: int = 1) -> None:
        """Load a checkpoint.

        Args:
            checkpoint: A `pretrained_model` folder, or an output folder of `waldo train` for its last checkpoint.
            device: Device of the policy.
            threads: CPU threads of torch.

        Raises:
            FileError: If there is no checkpoint or it cannot be loaded.
        """
        self.folder = find_checkpoint(Path(checkpoint))
        torch.set_num_threads(threads)
        self.device = device
        self._policy, self._before, self._after = _load(self.folder, device)
        config = self._policy.config
        self.type = str(config.type)
        """LeRobot's name of the type of policy."""
        self.contract = read_contract(self.folder)
        """What the policy was trained for."""
        self.fps = self.contract.fps
        self.inputs: dict[str, tuple[int, ...]] = {key: tuple(f.shape) for key, f in config.input_features.items()}
        """Observation keys that the policy needs -> shape; images channel first."""
        self.actions = int(config.output_features["action"].shape[0])
        self.image_keys = tuple(key for key in self.inputs if key.startswith(OBSERVATION_IMAGES))
        self.image_sizes = {key: (self.inputs[key][2], self.inputs[key][1]) for key in self.image_keys}
        """Key -> width and height of the images that the policy was trained on [px]."""
        self.queue_length = int(getattr(config, "n_action_steps", 1))
        self.chunk_length = max(self.queue_length, int(getattr(config, "chunk_size", self.queue_length)))
        """Actions that one look predicts; the queue contains the first of them."""
        self.lockstep = (
            int(getattr(config, "n_obs_steps", 1)) > 1 or getattr(config, "temporal_ensemble_coeff", None) is not None
        )
        """True for policies with a history of observations or actions: LeRobot keeps one history for all worlds."""
        self.rtc = not self.lockstep and enable_rtc(self._policy)
        """Whether the policy can continue actions that are carried out meanwhile (real-time chunking)."""
        self._increments: Increments | None = None
        if self.contract.unit == INCREMENT:
            # Each action becomes one target for each control tick.
            self.fps, self.queue_length = float(CONTROL_HZ), ticks_per_action(self.contract.fps)
            self._increments = Increments(self.contract.increment_rad, self.queue_length)
        self._queue: NDArray[np.float64] = np.zeros((0, self.queue_length, self.actions))
        self._used: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._policy.reset()

    def check(self, world: World) -> None:
        """Raise PolicyMismatchError, with all differences, unless the world provides the inputs of the policy.

        Images may be of another size than those of the world's cameras, of the same aspect ratio: the field of view
        is the same then.
        """
        available: dict[str, tuple[int, ...]] = {
            OBSERVATION_STATE: (len(world.robot.joints),),
            OBSERVATION_ENVIRONMENT: (len(world.environment_names),),
        }
        for camera in world.robot.cameras:
            key = OBSERVATION_IMAGES + camera.name
            width, height = self.image_sizes.get(key, (camera.width, camera.height))
            same_view = width * camera.height == height * camera.width
            available[key] = (3, height, width) if same_view else (3, camera.height, camera.width)
        self._compare(available, len(world.robot.joints), self.contract.joint_differences(world.robot.joint_names))

    def _compare(self, available: Mapping[str, tuple[int, ...]], joints: int, more: Sequence[str] = ()) -> None:
        differences: list[str] = []
        for key, shape in self.inputs.items():
            if key not in available:
                differences.append(f"it needs {key}, the world provides {', '.join(available)}")
            elif available[key] != shape:
                differences.append(f"it needs {key} of shape {shape}, the world provides {available[key]}")
        if self.actions != joints:
            differences.append(f"it commands {self.actions} joints, the robot has {joints}")
        differences += more
        if differences:
            raise PolicyMismatchError(self.folder, differences)

    def reset(self, which: NDArray[np.int64] | None = None) -> None:
        """Discard the history of the worlds `which` (None: all); with `lockstep`, of all worlds."""
        if which is None or self.lockstep:
            self._queue = self._queue[:0]
            self._used = self._used[:0]
            self._policy.reset()
        else:
            self._used[np.asarray(which)] = self.queue_length
        if self._increments is not None:
            self._increments.reset(which)

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """Return position targets, (worlds, joints) [rad]; worlds with an empty queue share one forward pass."""
        worlds = len(observation[OBSERVATION_STATE])
        if self.lockstep:
            with torch.inference_mode():
                action = self._policy.select_action(self._before(self._batch(observation, np.arange(worlds))))
                return self._after(action).to(torch.float64).cpu().numpy()
        if len(self._queue) != worlds:
            self._queue = np.zeros((worlds, self.queue_length, self.actions))
            self._used = np.full(worlds, self.queue_length)
        empty = np.flatnonzero(self._used >= self.queue_length)
        if len(empty):
            self._queue[empty] = self._next_targets(observation, empty)
            self._used[empty] = 0
        targets = self._queue[np.arange(worlds), self._used]
        self._used += 1
        return targets

    def _next_targets(self, observation: Observation, worlds: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the targets of some worlds until the policy looks again, (worlds, queue_length, joints) [rad]."""
        if self._increments is None:
            return self._chunk(observation, worlds)
        with torch.inference_mode():
            actions = self._after(self._policy.select_action(self._before(self._batch(observation, worlds))))
        position = np.asarray(observation[OBSERVATION_STATE], dtype=np.float64)
        return self._increments.targets(actions.to(torch.float64).cpu().numpy(), worlds, position)

    def predict(self, observations: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return all actions that follow each observation, (observations, actions, joints) [rad].

        Args:
            observations: The inputs by key, without an axis of worlds, and `task`; for real-time chunking also `PREFIX`
                and `DELAY`.

        Raises:
            WaldoError: If the policy has a history, which is that of one robot, and there are several observations; or
                if its actions are increments.
        """
        if self._increments is not None:
            raise WaldoError(
                f"{self.folder.name}: the policy moves targets by increments; evaluate it with: waldo eval"
            )
        batch: dict[str, Any] = {key: np.stack([one[key] for one in observations]) for key in self.inputs}
        batch["task"] = [one["task"] for one in observations]
        if not self.lockstep:
            return self._chunks(batch, observations)
        if len(observations) > 1:
            raise WaldoError(f"{self.folder.name}: the policy has a history and serves one robot at a time")
        return self.act({OBSERVATION_STATE: np.zeros((1, 0), np.float32)} | batch)[:, None]

    def _chunks(self, batch: Observation, observations: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return all actions that follow each observation; prefixes of the same form share a forward pass."""
        forms: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(observations):
            form = (len(one[PREFIX]), one[DELAY]) if self.rtc and PREFIX in one else (0, 0)
            forms.setdefault(form, []).append(index)
        found = np.zeros((len(observations), self.chunk_length, self.actions))
        for (length, delay), indices in forms.items():
            prefix = np.stack([observations[i][PREFIX] for i in indices]) if length else None
            found[indices] = self._chunk(batch, np.array(indices), self.chunk_length, prefix, delay)
        return found

    def _chunk(
        self,
        observation: Observation,
        worlds: NDArray[np.int64],
        length: int | None = None,
        prefix: NDArray[np.float32] | None = None,
        delay: int = 0,
    ) -> NDArray[np.float64]:
        """Return the next actions of some worlds, (worlds, length or queue_length, joints) [rad].

        Args:
            observation: The inputs of all worlds.
            worlds: The worlds.
            length: Actions to return; None: as many as are carried out without looking.
            prefix: Actions that the new ones continue, (worlds, actions, joints) [rad].
            delay: How many actions of the prefix cannot be changed anymore.
        """
        batch = self._batch(observation, worlds)
        if prefix is not None:
            # The policy needs them normalized, or relative to the state: what its training does to the actions.
            batch[ACTION] = torch.from_numpy(prefix[:, : self.chunk_length])
        # Real-time chunking differentiates, which the faster inference mode forbids.
        with torch.inference_mode() if prefix is None else torch.no_grad():
            batch = self._before(batch)
            options: dict[str, Any] = {}
            if prefix is not None:
                left = batch.pop(ACTION)
                options = {"prev_chunk_left_over": left, "inference_delay": delay, "execution_horizon": left.shape[1]}
            chunk = self._policy.predict_action_chunk(batch, **options)[:, : length or self.queue_length]
            actions = self._after(chunk.flatten(0, 1)).reshape(chunk.shape)
        return actions.to(torch.float64).cpu().numpy()

    def _batch(self, observation: Observation, worlds: NDArray[np.int64]) -> dict[str, Any]:
        """Return the inputs of some worlds in LeRobot's format: float images in 0..1, channel first."""
        # Images are rendered when they are indexed.
        available: dict[str, Any] = {key: observation[key] for key in self.inputs if key in observation}
        shapes = {
            k: (v.shape[3], *v.shape[1:3]) if k.startswith(OBSERVATION_IMAGES) else v.shape[1:]
            for k, v in available.items()
        }
        self._compare(shapes, self.actions)
        batch: dict[str, Any] = {}
        for key, values in available.items():
            tensor = torch.from_numpy(np.ascontiguousarray(values[worlds]))
            batch[key] = (
                tensor.permute(0, 3, 1, 2).float() / 255 if key.startswith(OBSERVATION_IMAGES) else tensor.float()
            )
        more = GOOD if self.contract.advantage else ""
        batch["task"] = [f"{observation['task'][int(i)]}{more}" for i in worlds]
        return batch


def _load(folder: Path, device: str) -> tuple[Any, Any, Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with large_import():
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors
        from lerobot.utils.import_utils import register_third_party_plugins

    try:
        register_third_party_plugins()
        config = PreTrainedConfig.from_pretrained(folder)
        config.device = device
        with redirect_stdout(StringIO()):  # LeRobot prints; standard output is for results
            policy = get_policy_class(config.type).from_pretrained(folder, config=config).to(device).eval()
        overrides = {"device_processor": {"device": device}}
        before, after = make_pre_post_processors(config, pretrained_path=str(folder), preprocessor_overrides=overrides)
    except Exception as error:  # LeRobot, safetensors and draccus raise various types
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FileError(
            folder, f"cannot be loaded as a LeRobot policy ({reason})", "train it again or pass another checkpoint"
        ) from error
    return policy, before, after
