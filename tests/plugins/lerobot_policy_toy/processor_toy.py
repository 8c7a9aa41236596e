"""Normalization around the toy policy."""

from typing import Any

from lerobot.processor import make_default_pre_post_processors

from .configuration_toy import ToyConfig


def make_toy_pre_post_processors(config: ToyConfig, dataset_stats: Any = None) -> Any:
    return make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
