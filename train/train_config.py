"""What a training run is, and the `lerobot-train` options that say so."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

from waldo.datasets.store_path import StorePath
from waldo.errors import FileError, InvalidValueError
from waldo.train.data.store_source import StoreOptions, StoreSource, is_store

STATE, ENVIRONMENT, IMAGES = "observation.state", "observation.environment_state", "observation.images."
"""LeRobot's keys of the joints and of the simulation's ground truth, and the prefix of its cameras."""
NORMALIZATION = json.dumps(dict.fromkeys(("VISUAL", "STATE", "ENV", "ACTION"), "MEAN_STD"))
"""ACT's normalisation with the environment's values in it; LeRobot's default leaves them as they are."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run of one LeRobot policy on one dataset."""

    dataset: StorePath
    """Where a waldo dataset lies, or the folder of a LeRobot v3.0 dataset."""
    output: Path
    """Folder for checkpoints, the log and the loss."""
    policy: str = "act"
    """LeRobot's name of the policy."""
    steps: int = 2000
    """Optimiser steps in all."""
    inputs: Literal["auto", "state", "images"] = "auto"
    """`state`: joints and environment_state, no images; `images`: joints and cameras, no environment_state."""
    preset: Literal["auto", "small", "lerobot"] = "auto"
    """`small` suits a CPU and a small dataset (ACT only); `lerobot` leaves LeRobot's defaults as they are."""
    device: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto`: a GPU if there is one."""
    save_every: int | None = None
    """Steps between checkpoints; None: a fifth of the run, at least 100 steps."""
    threads: int | None = None
    """CPU threads; None: all cores, or two for the small preset without images, which has no use for more."""
    seed: int = 1000
    """Seed of the weights and of the order of the data."""
    store: StoreOptions = field(default_factory=StoreOptions)
    """How a waldo dataset is read."""
    options: tuple[str, ...] = ()
    """Options of lerobot-train, passed on as they are; they win over the preset."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.steps < 1:
            raise InvalidValueError("steps", self.steps, "a whole number from 1")
        if self.store != StoreOptions() and not is_store(self.dataset):
            differing = [f.name for f in fields(StoreOptions) if getattr(self.store, f.name) != f.default]
            found, expected = ", ".join(differing), "none of a waldo dataset's options with a LeRobot dataset"
            raise InvalidValueError("options", found, expected, "give them to waldo export")
        for option in self.options:
            if not option.startswith("--"):
                raise InvalidValueError(
                    "option", option, "the form --key=value", "lerobot-train's options follow a lone --"
                )


def find_device(wanted: str) -> str:
    """Return the device to train on; asks the driver, as importing torch would take seconds."""
    if wanted != "auto":
        return wanted
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def read_features(dataset: StorePath) -> dict[str, dict[str, Any]]:
    """Return the features of a LeRobot dataset, by key."""
    path = dataset / "meta" / "info.json"
    if not dataset.is_dir():
        raise FileError(dataset, "no such dataset folder", "record one with: waldo record DATASET")
    if not path.is_file():
        raise FileError(
            dataset,
            "is no dataset of waldo (it has no dataset.json) nor of LeRobot (it has no meta/info.json)",
            "check the path",
        )
    try:
        info = json.loads(path.read_text())
        version, features = str(info["codebase_version"]), cast("dict[str, dict[str, Any]]", info["features"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(path, f"cannot be read ({error!r})", "export the dataset again") from error
    if not version.startswith("v3."):
        raise FileError(path, f"is of version {version}, expected v3.0", "convert it with LeRobot's own converter")
    return features


def choose_inputs(
    config: TrainConfig, features: Mapping[str, Mapping[str, Any]], device: str
) -> Literal["state", "images"]:
    """Return what the policy shall see, and refuse what the dataset cannot give."""
    cameras = [key for key in features if key.startswith(IMAGES)]
    has_environment = ENVIRONMENT in features
    if config.inputs == "images" and not cameras:
        raise InvalidValueError("inputs", "images", "'state', as the dataset has no cameras")
    if config.inputs != "auto":
        chosen = config.inputs
    elif cameras and (device != "cpu" or not has_environment):
        chosen = "images"
    else:
        chosen = "state"
    if chosen == "state" and not has_environment and config.policy == "act":
        found = "observation.state alone"
        raise InvalidValueError("inputs", found, "a camera or observation.environment_state beside it, which ACT needs")
    return chosen


def input_features(
    features: Mapping[str, Mapping[str, Any]], inputs: Literal["state", "images"]
) -> dict[str, dict[str, Any]]:
    """Return the policy's inputs as LeRobot writes them: type and shape by key, images channel first."""
    chosen: dict[str, dict[str, Any]] = {}
    for key, feature in features.items():
        shape = list(feature["shape"])
        if key == STATE:
            chosen[key] = {"type": "STATE", "shape": shape}
        elif key == ENVIRONMENT and inputs == "state":
            chosen[key] = {"type": "ENV", "shape": shape}
        elif key.startswith(IMAGES) and inputs == "images":
            chosen[key] = {"type": "VISUAL", "shape": [shape[2], shape[0], shape[1]]}
    return chosen


def small_act(inputs: Literal["state", "images"], steps: int) -> dict[str, object]:
    """Return the options of an ACT that learns a table-top task from 50 demonstrations on a CPU."""
    state = inputs == "state"
    rate = 1e-3 if state else 3e-4
    return {
        "policy.dim_model": 128,
        "policy.n_heads": 4,
        "policy.dim_feedforward": 512,
        "policy.n_encoder_layers": 2,
        "policy.n_decoder_layers": 1,
        "policy.use_vae": "false",
        "policy.chunk_size": 30,
        "policy.n_action_steps": 15,
        "policy.pretrained_backbone_weights": "null",
        "policy.normalization_mapping": NORMALIZATION,
        "batch_size": 64 if state else 16,
        "use_policy_training_preset": "false",
        "optimizer.type": "adamw",
        "optimizer.lr": rate,
        "optimizer.weight_decay": 1e-4,
        "optimizer.grad_clip_norm": 10.0,
        "scheduler.type": "cosine_decay_with_warmup",
        "scheduler.num_warmup_steps": max(1, steps // 20),
        "scheduler.num_decay_steps": steps,
        "scheduler.peak_lr": rate,
        "scheduler.decay_lr": rate / 100,
    }


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A training run worked out: what will be run, and what the user is told."""

    arguments: tuple[str, ...]
    """Options of lerobot-train."""
    memory: bool
    """Whether batches come from memory."""
    store: str | None
    """The waldo dataset that is read as it is, in the words of `StoreSource.to_json`; None for a LeRobot dataset."""
    device: str
    """Where it runs."""
    inputs: str
    """What the policy sees: "state" or "images"."""
    preset: str
    """The preset used."""
    log_every: int
    """Steps between lines of the log."""
    threads: int
    """CPU threads."""


def plan_training(config: TrainConfig) -> TrainPlan:
    """Work out the options of lerobot-train, the preset's under the user's own."""
    source = StoreSource(path=config.dataset.resolve(), options=config.store) if is_store(config.dataset) else None
    features = read_features(config.dataset) if source is None else source.features()
    device = find_device(config.device)
    inputs = choose_inputs(config, features, device)
    small = config.preset == "small" or (config.preset == "auto" and config.policy == "act" and device == "cpu")
    if small and config.policy != "act":
        raise InvalidValueError(
            "preset", "small", f"'lerobot' for the policy {config.policy!r}: the small preset is for act"
        )
    cores = os.cpu_count() or 1
    options: dict[str, object] = {
        "dataset.repo_id": f"local/{config.dataset.resolve().name}",
        "dataset.root": config.dataset.resolve(),
        "policy.type": config.policy,
        "policy.device": device,
        "policy.push_to_hub": "false",
        "policy.input_features": json.dumps(input_features(features, inputs)),
        "output_dir": config.output.resolve(),
        "job_name": config.policy,
        "steps": config.steps,
        "log_freq": max(1, min(50, config.steps // 50)),
        "save_freq": config.save_every or max(100, config.steps // 5),
        "env_eval_freq": 0,
        "seed": config.seed,
        "num_workers": 0 if inputs == "state" else max(1, min(4, cores - 1)),
        "wandb.enable": "false",
    }
    if config.policy == "act":
        options["policy.normalization_mapping"] = NORMALIZATION
    options |= small_act(inputs, config.steps) if small else {}
    for option in config.options:
        key, _, value = option.removeprefix("--").partition("=")
        options[key] = value
    if "policy.path" in options:
        options = {k: v for k, v in options.items() if k not in ("policy.type", "policy.input_features")}
    arguments = tuple(f"--{key}={value}" for key, value in options.items())
    return TrainPlan(
        arguments=arguments,
        memory=inputs == "state" and source is None,
        store=None if source is None else replace(source, images=inputs == "images").to_json(),
        device=device,
        inputs=inputs,
        preset="small" if small else "lerobot",
        log_every=int(cast("str", options["log_freq"])),
        threads=config.threads or (min(2, cores) if small and inputs == "state" else cores),
    )
