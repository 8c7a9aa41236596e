"""The policy that a training run starts from: a new one of some type, or a pretrained one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from waldo.errors import FileError
from waldo.files import read_regular
from waldo.json_file import parse_json
from waldo.train.policies.checkpoint import find_checkpoint
from waldo.train.policies.names import check_policy

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""Name of a repository on the hub."""


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """A policy to train."""

    type: str
    """LeRobot's name of the type of policy."""
    pretrained: str | None = None
    """Folder or hub name of a pretrained policy; None for a new one."""
    inputs: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    """The inputs of a pretrained policy in LeRobot's format, by key."""


def choose_policy(name: str, options: Sequence[str]) -> PolicyChoice:
    """Return the policy that a name and the options of lerobot-train select; the options take precedence.

    Args:
        name: LeRobot's name of a policy, a checkpoint folder, or a name on the hub such as `lerobot/smolvla_base`.
        options: Options such as `--policy.path=FOLDER`.

    Raises:
        UnknownNameError: If there is no such policy.
        FileError: If the pretrained policy cannot be read.
    """
    split = (option.removeprefix("--").partition("=") for option in options)
    given = {key: value for key, _, value in split}
    if path := given.get("policy.path"):
        return _pretrained(path)
    name = given.get("policy.type", name)
    if "/" in name or Path(name).is_dir():
        return _pretrained(name)
    package = given.get("policy.discover_packages_path")
    check_policy(name, [package] if package else [])
    return PolicyChoice(type=name)


def _pretrained(name: str) -> PolicyChoice:
    """Return the choice of a checkpoint folder or a hub name."""
    path = Path(name).expanduser()
    if path.exists() or not HUB_NAME.fullmatch(name) or name.startswith("."):
        folder = find_checkpoint(path)
        return _read(name, str(folder.resolve()), folder / "config.json")
    return _read(name, name, hub_file(name, "config.json", "model"))


def hub_file(name: str, file: str, kind: Literal["model", "dataset"]) -> Path:
    """Return the path of a file on the hub, from the cache or, if the user allows it, the hub.

    Args:
        name: Name of the repository.
        file: Path of the file in it.
        kind: Kind of the repository.

    Raises:
        FileError: If the file is neither in the cache nor can be downloaded.
    """
    # The training process is offline unless the user decides otherwise; the answer here must be the same.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, file, repo_type=kind))
    except Exception as error:  # the hub, its cache and the network raise various types
        if os.environ["HF_HUB_OFFLINE"].upper() in ("1", "ON", "YES", "TRUE"):
            found = "no such folder, and not in the cache of the hub; training is offline by default"
            folder = "checkpoint" if kind == "model" else "dataset"
            do = f"set HF_HUB_OFFLINE=0 to download it, or pass a {folder} folder"
            raise FileError(name, found, do) from error
        reason = " ".join(str(error).split())[:200]
        raise FileError(name, f"cannot be downloaded ({reason})", "check the name and the network") from error


def _read(name: str, pretrained: str, config: Path) -> PolicyChoice:
    try:
        values = parse_json(read_regular(config))
        kind, inputs = str(values["type"]), dict(values.get("input_features") or {})
        if not all(isinstance(feature, dict) for feature in inputs.values()):
            raise TypeError("input_features is not a mapping of features")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(name, f"is not a LeRobot policy ({config.name}: {error!r})", "pass another one") from error
    check_policy(kind)
    return PolicyChoice(type=kind, pretrained=pretrained, inputs=inputs)
