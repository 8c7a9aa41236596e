"""Identification of motor constants from recorded episodes.

The load is the mean of i² R over each second. The readings of the sensors are used, not the recorded estimates. A
dataset without the sensor readings is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.schema import MOTORS
from waldo.datasets.streams import ScalarStream
from waldo.errors import WaldoError
from waldo.robots.description import Joint
from waldo.robots.motor import ThermalConstants
from waldo.robots.thermal.fit import InsufficientDataError, Recording, ThermalFit, fit_constants
from waldo.typing import Array

STEP_S = 1.0
"""Length of a step of the fit [s]."""

REQUIRED_FIELDS = ("current", "winding_sensor", "housing_sensor", "driver_sensor")
"""Fields of the motor stream that the fit uses."""

PRIOR = ThermalConstants(
    winding_j_per_k=15.0,
    housing_j_per_k=100.0,
    winding_to_housing_k_per_w=2.0,
    housing_to_ambient_k_per_w=4.0,
    basis="assumed",
    source="a servo of 100 g, for a motor without constants in the library",
)


class UnidentifiableError(WaldoError):
    """A motor whose constants cannot be identified from a dataset."""

    def __init__(self, joint: str, reason: str) -> None:
        """Build the message from the joint and the missing information."""
        super().__init__(f"{joint}: {reason}")


def recordings(dataset: Dataset, joint: str, resistance_ohm: float) -> list[Recording]:
    """Return the recordings of one joint's motor in all episodes, in the order of time.

    Raises:
        UnidentifiableError: If an episode lacks the joint or a required field.
    """
    found: list[tuple[int, int, Recording]] = []
    for index in dataset.indices:
        episode = dataset.episode(index)
        stream = episode.streams.get(MOTORS)
        if not isinstance(stream, ScalarStream) or episode.count(MOTORS) < 2:
            continue
        missing = set(REQUIRED_FIELDS) - {field.name for field in stream.fields}
        if missing:
            raise UnidentifiableError(joint, f"episode {index} lacks motor fields: {', '.join(sorted(missing))}")
        if joint not in episode.field(MOTORS, "current").labels:
            raise UnidentifiableError(joint, f"episode {index} has no motor of this joint")
        found.append(_recording(episode, joint, resistance_ohm))
    found.sort(key=lambda one: one[0])
    out: list[Recording] = []
    previous_end_ns: int | None = None
    for start_ns, end_ns, recording in found:
        gap_s = 0.0 if previous_end_ns is None else max(0.0, (start_ns - previous_end_ns) / 1e9)
        out.append(replace(recording, gap_s=gap_s))
        previous_end_ns = end_ns
    return out


def _recording(episode: Episode, joint: str, resistance_ohm: float) -> tuple[int, int, Recording]:
    """Return start and end [ns] of an episode, and its recording of one motor in steps of `STEP_S`."""
    time_ns = episode.time_ns(MOTORS)
    column_index = list(episode.field(MOTORS, "current").labels).index(joint)

    def column(name: str) -> Array:
        return np.asarray(episode.values(MOTORS, name)[:, column_index], dtype=np.float64)

    step = ((time_ns - time_ns[0]) / 1e9 // STEP_S).astype(np.int64)
    steps = int(step[-1]) + 1
    heat = np.nan_to_num(np.square(column("current")) * resistance_ohm)
    rows = np.bincount(step, minlength=steps)
    mean = np.bincount(step, weights=heat, minlength=steps) / np.maximum(rows, 1)
    # A step without a row has the load of the previous one.
    filled = np.maximum.accumulate(np.where(rows > 0, np.arange(steps), 0))
    last = np.searchsorted(step, np.arange(steps), side="right") - 1
    recording = Recording(
        dt_s=STEP_S,
        copper_w=mean[filled],
        other_w=np.zeros(steps),
        winding_c=column("winding_sensor")[last],
        housing_c=column("housing_sensor")[last],
        driver_c=column("driver_sensor")[last],
    )
    return int(time_ns[0]), int(time_ns[-1]), recording


def identify(
    dataset: Dataset,
    joints: Sequence[Joint],
    *,
    ambient_c: float | None = None,
    advance: Callable[[str], None] = lambda joint: None,
) -> tuple[dict[str, ThermalFit], dict[str, str]]:
    """Fit the constants of motors to the episodes of a dataset.

    Args:
        dataset: The dataset.
        joints: Joints whose motors are fitted.
        ambient_c: Air temperature [°C]; None to fit it.
        advance: Called with the name of each joint that is done.

    Returns:
        The fits by joint name, and the reasons for the joints without a fit.
    """
    fits: dict[str, ThermalFit] = {}
    failed: dict[str, str] = {}
    for joint in joints:
        motor = joint.motor
        try:
            if motor.resistance_ohm is None:
                raise UnidentifiableError(joint.name, f"the resistance of {motor.name} is not published")
            recorded = recordings(dataset, joint.name, motor.resistance_ohm)
            fits[joint.name] = fit_constants(recorded, motor.thermal or PRIOR, ambient_c=ambient_c)
        except (InsufficientDataError, UnidentifiableError) as error:
            failed[joint.name] = str(error)
        advance(joint.name)
    return fits, failed
