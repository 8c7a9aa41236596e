"""Options of lerobot-train for small machines and datasets, by policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Literal

type Inputs = Literal["state", "images"]

NORMALIZATION = json.dumps(dict.fromkeys(("VISUAL", "STATE", "ENV", "ACTION"), "MEAN_STD"))
"""Normalization of ACT that includes the ground-truth values, which LeRobot's default does not normalize."""

STATE_POLICIES = ("act", "diffusion", "tdmpc")
"""LeRobot's policies that accept a simulation's ground truth in place of images."""


def small_act(inputs: Inputs, steps: int) -> dict[str, object]:
    """Return the options of an ACT that learns a tabletop task from 50 demonstrations on a CPU."""
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


def small_keypoint_vla(inputs: Inputs, steps: int) -> dict[str, object]:
    """Return the options of a keypoint_vla that learns a tabletop task from some hundred demonstrations on a CPU."""
    return {
        "batch_size": 64,
        "policy.scheduler_warmup_steps": max(1, steps // 10),
        "policy.scheduler_decay_steps": steps,
    }


SMALL: Mapping[str, Callable[[Inputs, int], dict[str, object]]] = {
    "act": small_act,
    "keypoint_vla": small_keypoint_vla,
}
"""Policy -> function of its inputs and the number of steps that returns the options of the small preset."""
