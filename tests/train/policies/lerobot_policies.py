"""Construct each of LeRobot's policies offline from a small random configuration and train one step; print JSON.

Usage: `python lerobot_policies.py POLICY ...`. A policy that cannot be constructed states what it lacks: the repository
of the hub whose files it loads, or a package. Each one runs in a process of its own, with limited memory and time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")

from waldo.train.large_import import large_import  # noqa: E402

with large_import():
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

MEMORY = 7 * 2**30
"""Address space of one policy [bytes]."""
TIME_S = 120
"""Time for one policy [s]."""
SAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the inputs and outputs."""

    action: int = 6
    state: int = 6
    pixels: int = 96
    cameras: tuple[str, ...] = ("front",)

    @property
    def keys(self) -> list[str]:
        return [f"observation.images.{name}" for name in self.cameras]


SHAPES = {"fastwam": Shape(action=7, state=8, pixels=224, cameras=("front", "wrist"))}
"""Policies that accept one shape only."""

SMALL: dict[str, dict[str, Any]] = {
    "act": {"pretrained_backbone_weights": None, "dim_model": 32, "n_heads": 2, "dim_feedforward": 64},
    "diffusion": {"pretrained_backbone_weights": None, "down_dims": (32, 64), "diffusion_step_embed_dim": 16},
    "vqbet": {"pretrained_backbone_weights": None, "gpt_n_layer": 1, "gpt_n_head": 2, "gpt_hidden_dim": 32},
    "tdmpc": {"latent_dim": 16, "mlp_dim": 32},
}
"""Options that make a policy small, or free of downloaded weights; a SmolVLA gets a model that is made here."""

REPOSITORY = ("repo_id", "path_or_repo_id", "pretrained_model_name_or_path", "model_id")
"""Names under which libraries hold the repository that they load."""


def features(config: Any, shape: Shape) -> None:
    images = {key: PolicyFeature(FeatureType.VISUAL, (3, shape.pixels, shape.pixels)) for key in shape.keys}
    config.input_features = {"observation.state": PolicyFeature(FeatureType.STATE, (shape.state,)), **images}
    config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (shape.action,))}


def statistics(shape: Shape) -> dict[str, dict[str, torch.Tensor]]:
    values = {"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0, "q01": -1.0, "q99": 1.0}
    sizes = {"observation.state": (shape.state,), "action": (shape.action,), **dict.fromkeys(shape.keys, (3, 1, 1))}
    return {key: {name: torch.full(size, value) for name, value in values.items()} for key, size in sizes.items()}


def batch(config: Any, shape: Shape) -> dict[str, Any]:
    """Return a random batch with the offsets that the policy asks for."""

    def times(indices: Any) -> list[int]:
        return [] if indices is None or len(indices) == 1 else [len(indices)]

    seen, acted = times(config.observation_delta_indices), times(config.action_delta_indices)
    rewards = times(getattr(config, "reward_delta_indices", None))
    found: dict[str, Any] = {
        "observation.state": torch.randn(SAMPLES, *seen, shape.state),
        "action": torch.randn(SAMPLES, *acted, shape.action),
        "action_is_pad": torch.zeros(SAMPLES, *(acted or [1]), dtype=torch.bool),
        "next.reward": torch.zeros(SAMPLES, *rewards),
        "next.reward_is_pad": torch.zeros(SAMPLES, *(rewards or [1]), dtype=torch.bool),
        "index": torch.arange(SAMPLES),
        "task": ["lift the cube"] * SAMPLES,
    }
    for key in ("observation.state", *shape.keys):
        found[f"{key}_is_pad"] = torch.zeros(SAMPLES, *(seen or [1]), dtype=torch.bool)
    return found | {key: torch.rand(SAMPLES, *seen, 3, shape.pixels, shape.pixels) for key in shape.keys}


def train_step(name: str, folder: Path) -> str:
    """Train one step, with an empty folder for files of the policy; return what was found."""
    shape = SHAPES.get(name, Shape())
    options = small_smolvla(folder) if name == "smolvla" else SMALL.get(name, {})
    config = make_policy_config(name, device="cpu", push_to_hub=False, **options)
    features(config, shape)
    # First, since it needs no weights: a tokenizer that is missing is found at once.
    before, _ = make_pre_post_processors(config, dataset_stats=statistics(shape))
    policy = get_policy_class(name)(config)
    policy.train()
    if name == "gaussian_actor":
        return "for reinforcement learning; it has no loss on demonstrations"
    loss, _ = policy.forward(before(batch(config, shape)))
    loss.backward()
    if not torch.isfinite(loss):
        raise ValueError(f"the loss is {float(loss)}")
    return "trains a step"


def small_smolvla(folder: Path) -> dict[str, Any]:
    """Return the options of a SmolVLA with a vision-language model of random weights."""
    sys.path.append(str(Path(__file__).parents[2] / "importable"))
    from tiny_smolvla import small_options, write_vlm

    write_vlm(folder)
    return small_options(folder)


def lacks(error: BaseException) -> str:
    """Return what an error states is missing."""
    if isinstance(error, ImportError):
        return f"lacks a package: {' '.join(str(error).split('.')[0].split())}"
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return f"is too large to be constructed here (more than {MEMORY // 2**30} GiB)"
    found = ""
    chain: BaseException | None = error
    while chain is not None:
        for frame, _ in traceback.walk_tb(chain.__traceback__):
            for key in REPOSITORY:
                value = frame.f_locals.get(key)
                if isinstance(value, str) and value.count("/") == 1 and not found:
                    found = value
        chain = chain.__cause__ or chain.__context__
    if found:
        return f"lacks weights or a tokenizer: {found}"
    return f"fails: {type(error).__name__}: {' '.join(str(error).split())[:160]}"


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:]:
            sys.stdout.flush()
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                signal.alarm(TIME_S)
                try:
                    with open(os.devnull, "w") as nothing:
                        os.dup2(nothing.fileno(), 1)
                        os.dup2(nothing.fileno(), 2)
                    text = train_step(name, Path(folder))
                except BaseException as error:
                    text = lacks(error)
                os.write(write, text.encode())
                os._exit(0)
            os.close(write)
            with open(read) as pipe:
                text = pipe.read()
            _, status = os.waitpid(child, 0)
            text = text or f"fails: the process ended with status {status}"
            sys.stdout.write(json.dumps({"policy": name, "found": text}) + "\n")


if __name__ == "__main__":
    main()
