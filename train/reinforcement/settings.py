"""Options of a reinforcement learning, and LeRobot's configuration that they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets.schema import ACTION, OBSERVATION_ENVIRONMENT, OBSERVATION_STATE
from waldo.errors import InvalidValueError
from waldo.files import read_regular
from waldo.json_file import parse_json
from waldo.robots.description import load_robot
from waldo.sim.environments.intervention_env import STEPS_HZ
from waldo.sim.tasks.task import load_task

REPOSITORY = "local/demonstrations"
"""LeRobot's name of the demonstrations."""
RANGE_MARGIN = 0.1
"""Fraction by which the range of an input in the demonstrations is widened at either end."""
SMALLEST_RANGE = 1e-3
"""Smallest range of an input: one that is constant in the demonstrations is not divided by zero."""
FASTER = 2
"""How much faster than real time the actor acts at most: the learner keeps up on two cores."""


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig:
    """Options of a reinforcement learning."""

    task: str = "lift"
    """Registered name of the task."""
    demonstrations: int = 60
    """Demonstrations of the scripted operator, half of each batch."""
    steps: int = 20_000
    """Actions in the environment, each 0.1 s."""
    interventions: float = 0.7
    """Share of the episodes in which the scripted person takes over while the policy never succeeds; then rarer."""
    after_s: float = 3.0
    """Time of an episode after which the person takes over [s]."""
    heat_weight: float = 0.0
    """What a joule in the windings costs [1/J]; a reached goal is worth 1."""
    updates: int = 2
    """Updates of the critics per update of the policy."""
    seed: int = 0
    """Seed of the weights, the demonstrations and the episodes."""

    def __post_init__(self) -> None:
        """Reject values out of range."""
        for name in ("demonstrations", "steps", "updates"):
            if getattr(self, name) < 1:
                raise InvalidValueError(name, getattr(self, name), "a number from 1")
        if not 0 <= self.interventions <= 1:
            raise InvalidValueError("interventions", self.interventions, "a fraction from 0 to 1")
        for name in ("after_s", "heat_weight"):
            if not 0 <= getattr(self, name) < 1000:
                raise InvalidValueError(name.replace("_", "-"), getattr(self, name), "a number from 0")
        load_task(self.task)

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return asdict(self)


def _range(statistics: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the range to which an input is normalized, from its statistics in the demonstrations."""
    low, high = np.array(statistics["min"]), np.array(statistics["max"])
    width = np.maximum(high - low, SMALLEST_RANGE)
    return {"min": (low - RANGE_MARGIN * width).tolist(), "max": (high + RANGE_MARGIN * width).tolist()}


def lerobot_config(config: ReinforceConfig, folder: Path, socket: Path, *, resume: bool) -> dict[str, Any]:
    """Return LeRobot's configuration of the actor and the learner, as JSON values.

    Args:
        config: The options.
        folder: Folder of the run, with the demonstrations.
        socket: Socket between the two, in a folder that no other user can enter: its messages are pickled.
        resume: Whether to continue from the last checkpoint.
    """
    task = load_task(config.task)
    joints, values = len(load_robot(task.robot).joints), len(task.environment_names)
    inputs = {
        OBSERVATION_STATE: {"type": "STATE", "shape": [joints]},
        OBSERVATION_ENVIRONMENT: {"type": "ENV", "shape": [values]},
    }
    outputs = {ACTION: {"type": "ACTION", "shape": [joints]}}
    measured: dict[str, Any] = parse_json(read_regular(folder / "demonstrations" / "meta" / "stats.json"))
    statistics = {key: _range(measured[key]) for key in inputs}
    statistics[ACTION] = {"min": [-1.0] * joints, "max": [1.0] * joints}
    host, _, port = str(socket).rpartition(":")
    return {
        "output_dir": str(folder / "learner"),
        "job_name": "reinforce",
        "resume": resume,
        "seed": config.seed,
        "batch_size": 256,
        "save_freq": max(500, config.steps // 4),
        "log_freq": 200,
        "num_workers": 0,
        "wandb": {"enable": False},
        "dataset": {"repo_id": REPOSITORY, "root": str(folder / "demonstrations")},
        "policy": {
            "type": "gaussian_actor",
            "device": "cpu",
            "storage_device": "cpu",
            "push_to_hub": False,
            "input_features": inputs,
            "output_features": outputs,
            "dataset_stats": statistics,
            "online_steps": config.steps,
            "online_step_before_learning": min(200, max(1, config.steps // 4)),
            "latent_dim": 64,
            "state_encoder_hidden_dim": 64,
            "actor_learner_config": {
                "learner_host": f"unix:{host}",
                "learner_port": int(port),
                "policy_parameters_push_frequency": 2,
            },
            "concurrency": {"actor": "threads", "learner": "threads"},
        },
        "env": {
            "type": "gym_manipulator",
            "name": "gym_hil",
            "task": config.task,
            "fps": STEPS_HZ * FASTER,
            "features": {**inputs, **outputs},
            "features_map": {key: key for key in (*inputs, *outputs)},
        },
        # Sparse reward and demonstrations: no bonus for entropy in the values, as in RLPD (Ball et al. 2023).
        "algorithm": {
            "type": "sac",
            "discount": 0.97,
            "temperature_init": 0.01,
            "utd_ratio": config.updates,
            "num_critics": 6,
            "num_subsample_critics": 2,
            "target_entropy": -float(joints),
            "use_backup_entropy": False,
        },
    }
