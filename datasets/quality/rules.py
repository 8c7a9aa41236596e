"""The rules of quality: `waldo check` applies them to recorded episodes, the recorder to the one it records.

They are the keys of a YAML file, which is `rules.yaml` in the dataset's folder or named by `--rules`::

    gap_periods: 4
    lag_s: 0.2
    block: [frozen, dark, loss]
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from waldo.errors import InvalidValueError, UnknownNameError

FILE = "rules.yaml"
"""Name of the file in a dataset's folder."""

KINDS = (
    "loss",
    "staleness",
    "order",
    "silence",
    "rate",
    "gap",
    "jitter",
    "value",
    "frozen",
    "dark",
    "limit",
    "clipped",
    "lag",
    "idle",
    "heat",
)
"""Kinds of findings that are known while an episode is recorded, and can block its save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits beyond which a finding is reported, and which findings block a save."""

    rate_ratio: float = 0.1
    """Largest relative deviation of a stream's mean rate from its nominal rate."""
    gap_periods: float = 2.5
    """Longest interval between two messages, in periods of the stream."""
    jitter_periods: float = 0.5
    """Largest jitter, the deviation from the period that 1 % of the intervals exceed, in periods."""
    staleness_s: float = 0.25
    """Largest age of a message at its receipt [s]."""
    silence_s: float = 0.5
    """Longest time without messages at either end of the episode [s]."""
    lost_messages: int = 0
    """Largest number of lost messages of a stream."""
    frozen_s: float = 0.5
    """Longest time with an unchanged image while the robot moves [s]."""
    moving_rad: float = 0.05
    """Joint movement from which the robot is considered moving [rad]."""
    dark_mean: float = 8.0
    """Mean brightness up to which an image is black, 0 to 255."""
    flat_std: float = 2.0
    """Standard deviation of the brightness up to which an image shows one even area, 0 to 255."""
    limit_rad: float = 1e-4
    """Tolerance beyond a joint limit: the resolution of stored positions [rad]."""
    clipped_ratio: float = 0.5
    """Largest share of commands that the robot's safety chain or its governor changed."""
    clipped_rad: float = 0.02
    """Change of a joint's command from which it counts as changed [rad]."""
    lag_s: float = 0.5
    """Largest delay of the joints behind their commands [s], up to 1 s; the median over stretches with motion."""
    idle_ratio: float = 0.9
    """Largest share of the episode in which no joint moves."""
    idle_rad: float = 0.01
    """Movement within 2 s up to which a joint does not move [rad]."""
    heat_margin_kelvin: float = 0.0
    """Smallest distance of a winding from its temperature limit [K]."""
    block: tuple[str, ...] = ()
    """Kinds of findings with which the recorder refuses to save an episode as a success: frozen, dark, loss, ..."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a limit that no recording could meet, UnknownNameError for an unknown kind."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "block" and not (math.isfinite(value) and value >= 0):
                raise InvalidValueError(field.name, value, "a finite number that is not negative")
        for kind in self.block:
            if kind not in KINDS:
                raise UnknownNameError("kind of finding in block", kind, KINDS)
