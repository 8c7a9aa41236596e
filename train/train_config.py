"""Options of a training run, and the `lerobot-train` options that they become."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from waldo.datasets.schema import OBSERVATION_ENVIRONMENT, OBSERVATION_STATE, has_channels_first
from waldo.datasets.storage.store_path import StorePath, read_bytes
from waldo.errors import FileError, InvalidValueError, NotADatasetError, UnsupportedOptionError
from waldo.json_file import parse_json, shown
from waldo.train.checkpoint_evaluation import CheckpointEvaluation
from waldo.train.data.store_source import StoreOptions, StoreSource, is_store
from waldo.train.launch import Launch
from waldo.train.policies.choice import HUB_NAME, PolicyChoice, choose_policy, hub_file
from waldo.train.presets import NORMALIZATION, SMALL, STATE_POLICIES
from waldo.train.tracking import Tracker, require_tracker


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of a training run of one LeRobot policy on one dataset."""

    dataset: StorePath
    """Path or address of a waldo dataset, or the folder of a LeRobot v3.0 dataset."""
    output: Path
    """Folder for checkpoints, log and loss."""
    policy: str = "act"
    """LeRobot's name of the policy, or a pretrained one to continue from: a checkpoint folder or a name on the hub."""
    steps: int = 2000
    """Total number of optimizer steps."""
    inputs: Literal["auto", "state", "images"] = "auto"
    """`state`: joints and environment_state, no images; `images`: joints and cameras, no environment_state."""
    preset: Literal["auto", "small", "lerobot"] = "auto"
    """`small` suits a CPU and a small dataset (act, keypoint_vla); `lerobot`: LeRobot's own defaults."""
    device: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto`: a GPU if there is one."""
    save_every: int | None = None
    """Steps between checkpoints; None: a fifth of the run, at least 100."""
    threads: int | None = None
    """CPU threads; None: all cores, or two for the small preset without images, which does not use more."""
    seed: int = 1000
    """Seed of the weights and of the order of the data."""
    store: StoreOptions = field(default_factory=StoreOptions)
    """How a waldo dataset is read."""
    launch: Launch | None = None
    """How the processes are started; None: one process."""
    evaluation: CheckpointEvaluation | None = None
    """Evaluation of each checkpoint in simulation; `checkpoints/best` then links to the best one."""
    track: Tracker = "none"
    """Where the curves are shown, beside `loss.csv` and `loss.png`."""
    license: str = ""
    """License of the weights for the model card, such as "apache-2.0"."""
    options: tuple[str, ...] = ()
    """Options passed on to lerobot-train unchanged; they override the preset."""

    def __post_init__(self) -> None:
        """Reject values out of range and options that do not apply."""
        if self.steps < 1:
            raise InvalidValueError("steps", self.steps, "a whole number from 1")
        if self.store != StoreOptions() and not is_store(self.dataset):
            option = _first_difference(self.store, StoreOptions())
            raise UnsupportedOptionError(f"--{option}", "a LeRobot dataset", do="pass it to waldo export")
        for option in self.options:
            if not option.startswith("--"):
                raise InvalidValueError(
                    "option", option, "the form --key=value", "options of lerobot-train follow a lone --"
                )


def _first_difference(value: Any, default: Any) -> str:
    """Return the command-line name of the first field that differs from the default."""
    for one in fields(value):
        mine, other = getattr(value, one.name), getattr(default, one.name)
        if mine != other:
            return _first_difference(mine, other) if is_dataclass(mine) else one.name.replace("_", "-")
    raise AssertionError("the values are equal")


def find_device(name: str) -> str:
    """Return the device to train on; "auto" looks for the driver, since importing torch would take seconds."""
    if name != "auto":
        return name
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def read_features(dataset: StorePath) -> dict[str, dict[str, Any]]:
    """Return the features of a LeRobot dataset by key.

    Raises:
        FileError: If the folder is not a LeRobot v3.0 dataset.
    """
    path = dataset / "meta" / "info.json"
    if dataset.is_file():
        raise NotADatasetError(dataset, "is a file, expected the folder of a dataset")
    if not dataset.is_dir():
        raise FileError(dataset, "no such dataset folder", "record one with: waldo record DATASET")
    if not path.is_file():
        raise NotADatasetError(
            dataset,
            "is neither a waldo dataset (no dataset.json) nor a LeRobot dataset (no meta/info.json)",
            "check the path",
        )
    try:
        info = parse_json(read_bytes(path))
        version, features = str(info["codebase_version"]), info["features"]
        if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
            raise TypeError("features is not a mapping of features")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(path, f"cannot be read ({error!r})", "export the dataset again") from error
    if not version.startswith("v3."):
        raise NotADatasetError(dataset, f"is a LeRobot dataset {shown(version)}, expected v3.0")
    return features


def hub_name(dataset: StorePath) -> str | None:
    """Return the name of a dataset on the hub, such as `lerobot/pusht`; None for a path."""
    text = str(dataset)
    return text if HUB_NAME.fullmatch(text) and not text.startswith(".") and not Path(text).exists() else None


def read_hub_features(name: str) -> dict[str, dict[str, Any]]:
    """Return the features of a dataset on the hub, from the cache or, if the user allows it, the hub.

    Raises:
        FileError: If it is neither in the cache nor can be downloaded, or is not a LeRobot v3.0 dataset.
    """
    return read_features(hub_file(name, "meta/info.json", "dataset").parent.parent)


def image_keys(features: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the keys of the cameras: as in LeRobot the type decides, since other datasets name them `image`."""
    return {key for key, feature in features.items() if feature.get("dtype") in ("video", "image")}


def choose_inputs(
    config: TrainConfig, policy: PolicyChoice, features: Mapping[str, Mapping[str, Any]], device: str
) -> Literal["state", "images"]:
    """Return the inputs of the policy; a pretrained one has its own.

    Raises:
        InvalidValueError: If the dataset does not contain the requested inputs.
    """
    cameras = image_keys(features)
    if policy.pretrained is not None:
        return pretrained_inputs(config, policy, features)
    has_environment = OBSERVATION_ENVIRONMENT in features
    if config.inputs == "images" and not cameras:
        raise InvalidValueError("inputs", "images", "'state': the dataset has no cameras")
    if config.inputs != "auto":
        chosen = config.inputs
    elif cameras and (device != "cpu" or not has_environment or policy.type not in STATE_POLICIES):
        chosen = "images"
    else:
        chosen = "state"
    if chosen == "state" and not has_environment and policy.type == "act":
        raise InvalidValueError(
            "inputs", OBSERVATION_STATE, "a camera or the environment state too, which ACT requires"
        )
    return chosen


def pretrained_inputs(
    config: TrainConfig, policy: PolicyChoice, features: Mapping[str, Mapping[str, Any]]
) -> Literal["state", "images"]:
    """Return the inputs of a pretrained policy.

    Raises:
        InvalidValueError: If `config` requests others, or the dataset lacks one of them.
    """
    needed = {key for key, feature in policy.inputs.items() if feature.get("type") == "VISUAL"}
    cameras = image_keys(features)
    own: Literal["state", "images"] = "images" if needed else "state"
    if config.inputs not in ("auto", own):
        raise InvalidValueError("inputs", config.inputs, f"{own!r}, the inputs of the pretrained policy")
    missing = sorted(set(policy.inputs) - needed - set(features))
    # As in LeRobot: a policy may declare more cameras than the dataset has, or the other way around.
    if not needed <= cameras and not (cameras and cameras <= needed):
        missing += sorted(needed - cameras)
    if missing and not any(option.startswith("--rename_map=") for option in config.options):
        raise InvalidValueError(
            f"the dataset, for the pretrained policy {policy.pretrained},",
            ", ".join(sorted({*cameras, *(key for key in features if key.startswith("observation."))})),
            f"{', '.join(missing)} as well",
            """rename inputs with: -- --rename_map='{"FROM": "TO"}'""",
        )
    return own


def input_features(
    features: Mapping[str, Mapping[str, Any]], inputs: Literal["state", "images"]
) -> dict[str, dict[str, Any]]:
    """Return the policy's inputs in LeRobot's format: type and shape by key, images channel first."""
    chosen: dict[str, dict[str, Any]] = {}
    cameras = image_keys(features)
    for key, feature in features.items():
        shape = list(feature["shape"])
        if key == OBSERVATION_STATE:
            chosen[key] = {"type": "STATE", "shape": shape}
        elif key == OBSERVATION_ENVIRONMENT and inputs == "state":
            chosen[key] = {"type": "ENV", "shape": shape}
        elif key in cameras and inputs == "images":
            channels_first = shape if has_channels_first(feature) else [shape[2], *shape[:2]]
            chosen[key] = {"type": "VISUAL", "shape": channels_first}
    return chosen


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A training run with all options resolved."""

    arguments: tuple[str, ...]
    """Options of lerobot-train."""
    memory: bool
    """Whether batches are read from memory."""
    store: str | None
    """The waldo dataset as `StoreSource.to_json`; None for a LeRobot dataset."""
    device: str
    """Device to train on."""
    inputs: str
    """Inputs of the policy: "state" or "images"."""
    policy: PolicyChoice
    """The policy."""
    preset: str
    """Preset: "small" or "lerobot"."""
    log_every: int
    """Steps between lines of the log."""
    threads: int
    """CPU threads."""


def plan_training(config: TrainConfig) -> TrainPlan:
    """Resolve the options of lerobot-train; the user's own override the preset.

    Raises:
        UnknownNameError: If there is no such policy.
        FileError: If the dataset or a pretrained policy cannot be read.
        InvalidValueError: If the dataset lacks inputs of the policy.
        UnsupportedOptionError: If the preset does not support the policy.
    """
    policy = choose_policy(config.policy, config.options)
    require_tracker(config.track)
    hub = hub_name(config.dataset)
    source = StoreSource(path=config.dataset.resolve(), options=config.store) if is_store(config.dataset) else None
    if source is not None:
        features = source.features()
    else:
        features = read_features(config.dataset) if hub is None else read_hub_features(hub)
    device = find_device(config.device)
    inputs = choose_inputs(config, policy, features, device)
    new = policy.pretrained is None
    has_small = new and policy.type in SMALL
    small = config.preset == "small" or (config.preset == "auto" and has_small and device == "cpu")
    if small and not has_small:
        kind = f"the policy {policy.type!r}" if new else "a pretrained policy"
        raise UnsupportedOptionError("--preset small", kind, SMALL)
    cores = os.cpu_count() or 1
    options: dict[str, object] = {
        "dataset.repo_id": hub or f"local/{config.dataset.resolve().name}",
        **({} if hub else {"dataset.root": config.dataset.resolve()}),
        "policy.device": device,
        "policy.push_to_hub": "false",
        "output_dir": config.output.resolve(),
        "job_name": policy.type,
        "steps": config.steps,
        "log_freq": max(1, min(50, config.steps // 50)),
        "save_freq": config.save_every or max(100, config.steps // 5),
        "env_eval_freq": 0,
        "seed": config.seed,
        "num_workers": 0 if inputs == "state" else max(1, min(4, cores - 1)),
        # LeRobot asks for a logger; that of Weights & Biases is replaced for the others.
        "wandb.enable": "false" if config.track == "none" else "true",
    }
    if policy.pretrained is None:
        options |= {"policy.type": policy.type, "policy.input_features": json.dumps(input_features(features, inputs))}
    if new and policy.type == "act":
        options["policy.normalization_mapping"] = NORMALIZATION
    options |= SMALL[policy.type](inputs, config.steps) if small else {}
    for option in config.options:
        key, _, value = option.removeprefix("--").partition("=")
        options[key] = value
    if policy.pretrained is not None:
        options.pop("policy.type", None)
        options["policy.path"] = policy.pretrained
    arguments = tuple(f"--{key}={value}" for key, value in options.items())
    return TrainPlan(
        arguments=arguments,
        memory=inputs == "state" and source is None,
        store=None if source is None else replace(source, images=inputs == "images").to_json(),
        device=device,
        inputs=inputs,
        policy=policy,
        preset="small" if small else "lerobot",
        log_every=int(cast("str", options["log_freq"])),
        threads=config.threads or (min(2, cores) if small and inputs == "state" else cores),
    )
