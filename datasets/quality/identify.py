"""What recorded episodes tell of each motor: its currents and its sensors, as the fit of its constants wants them.

The load is the mean of i² R over each second. The sensors' own readings are used, not the estimates that were recorded
beside them; a dataset from before they were recorded has only the estimates, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.streams import ScalarStream
from waldo.errors import WaldoError
from waldo.robots.description import Joint
from waldo.robots.thermal.fit import Fit, NothingLearnedError, Recording, fit
from waldo.robots.thermal.two_node import ThermalConstants
from waldo.typing import Array

STEP_S = 1.0
"""Length of a step of the fit [s]."""

NEEDED = ("current", "winding_sensor", "housing_sensor", "driver_sensor")
"""Fields of the motors that the fit rests on."""

BODY = ThermalConstants(
    winding_j_per_k=15.0,
    housing_j_per_k=100.0,
    winding_to_housing_k_per_w=2.0,
    housing_to_ambient_k_per_w=4.0,
    basis="assumed",
    source="a servo of a hundred grams, where the library has no constants to begin with",
)


class UnidentifiableError(WaldoError):
    """A dataset that cannot tell a motor's constants."""

    def __init__(self, joint: str, why: str) -> None:
        """Take the joint and what is missing."""
        super().__init__(f"{joint}: {why}")


def recordings(dataset: Dataset, joint: str, resistance_ohm: float) -> list[Recording]:
    """Return what the episodes recorded of one joint's motor, in the order of time."""
    found: list[tuple[int, int, Recording]] = []
    for index in dataset.indices:
        episode = dataset.episode(index)
        stream = episode.streams.get("motors")
        if not isinstance(stream, ScalarStream) or episode.count("motors") < 2:
            continue
        missing = set(NEEDED) - {field.name for field in stream.fields}
        if missing:
            raise UnidentifiableError(joint, f"episode {index} has no {', '.join(sorted(missing))} in its motors")
        if joint not in episode.field("motors", "current").labels:
            raise UnidentifiableError(joint, f"episode {index} has no such motor")
        found.append(_recording(episode, joint, resistance_ohm))
    found.sort(key=lambda one: one[0])
    out: list[Recording] = []
    before_ns: int | None = None
    for start_ns, end_ns, recording in found:
        gap_s = 0.0 if before_ns is None else max(0.0, (start_ns - before_ns) / 1e9)
        out.append(replace(recording, gap_s=gap_s))
        before_ns = end_ns
    return out


def _recording(episode: Episode, joint: str, resistance_ohm: float) -> tuple[int, int, Recording]:
    """Return when it begins and ends [ns], and one episode's motor in steps of STEP_S."""
    time_ns = episode.time_ns("motors")
    at = list(episode.field("motors", "current").labels).index(joint)

    def column(name: str) -> Array:
        return np.asarray(episode.values("motors", name)[:, at], dtype=np.float64)

    step = ((time_ns - time_ns[0]) / 1e9 // STEP_S).astype(np.int64)
    steps = int(step[-1]) + 1
    heat = np.nan_to_num(np.square(column("current")) * resistance_ohm)
    rows = np.bincount(step, minlength=steps)
    mean = np.bincount(step, weights=heat, minlength=steps) / np.maximum(rows, 1)
    # A step without a row carries the load of the one before.
    filled = np.maximum.accumulate(np.where(rows > 0, np.arange(steps), 0))
    last = np.searchsorted(step, np.arange(steps), side="right") - 1
    housing = column("housing_sensor")
    housing = np.where(np.isfinite(housing), housing, column("driver_sensor"))
    return (
        int(time_ns[0]),
        int(time_ns[-1]),
        Recording(
            dt_s=STEP_S,
            copper_w=mean[filled],
            other_w=np.zeros(steps),
            winding_c=column("winding_sensor")[last],
            housing_c=housing[last],
        ),
    )


def identify(
    dataset: Dataset,
    joints: Sequence[Joint],
    *,
    ambient_c: float | None = None,
    advance: Callable[[str], None] = lambda joint: None,
) -> tuple[dict[str, Fit], dict[str, str]]:
    """Return what was fitted of each joint's motor, and of which nothing can be said, with the reason."""
    fits: dict[str, Fit] = {}
    silent: dict[str, str] = {}
    for joint in joints:
        motor = joint.motor
        try:
            if motor.resistance_ohm is None:
                raise UnidentifiableError(joint.name, f"nobody published the resistance of {motor.name}")
            recorded = recordings(dataset, joint.name, motor.resistance_ohm)
            fits[joint.name] = fit(recorded, motor.thermal or BODY, ambient_c=ambient_c)
        except (NothingLearnedError, UnidentifiableError) as error:
            silent[joint.name] = str(error)
        advance(joint.name)
    return fits, silent
