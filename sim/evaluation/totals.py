"""Sums over the episodes of an evaluation, from which success and motor heat are computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waldo.robots.thermal.sustained import sustain
from waldo.sim.evaluation.results import MotorHeat, Series
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

SERIES_HZ = 10
"""Sample rate of the time series [Hz]."""


class EpisodeTotals:
    """Collects batches of episodes; arrays have shape (episodes, motors) or (samples, motors)."""

    def __init__(self, motors: int, horizon: int) -> None:
        """Initialize for a number of motors and the maximum number of ticks of an episode."""
        samples = horizon * SERIES_HZ // CONTROL_HZ
        self.success: list[bool] = []
        self.seconds: list[float] = []
        self._max_winding: Array = np.zeros((0, motors))
        self._joules: Array = np.zeros((0, motors))
        self._square_seconds = np.zeros(motors)
        self._working_seconds = np.zeros(motors)
        self._sum = np.zeros((samples, motors))
        self._highest = np.full((samples, motors), -np.inf)
        self._count = np.zeros(samples)

    def sample(self, world: World, tick: int, running: NDArray[np.bool_]) -> None:
        """Add the winding temperatures of the running worlds to the series, if `tick` is a sample."""
        every = CONTROL_HZ // SERIES_HZ
        sample = tick // every
        if tick % every or sample >= len(self._count) or not running.any():
            return
        winding = world.heat[running, :, 0]
        self._sum[sample] += winding.sum(axis=0)
        self._highest[sample] = np.maximum(self._highest[sample], winding.max(axis=0))
        self._count[sample] += len(winding)

    def add_load(self, world: World, ending: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Add the motor load of the worlds that end now; return their maximum winding [°C] and heat [J]."""
        duty = world.duty
        self._square_seconds += (np.square(duty.equivalent_torque_nm) * duty.seconds)[ending].sum(axis=0)
        self._working_seconds += (duty.duty_ratio * duty.seconds)[ending].sum(axis=0)
        return duty.peak_winding_c[ending], duty.joules[ending]

    def add_batch(self, success: NDArray[np.bool_], seconds: Array, max_winding_c: Array, joules: Array) -> None:
        """Add the episodes of a batch."""
        self.success += success.tolist()
        self.seconds += seconds.tolist()
        self._max_winding = np.concatenate([self._max_winding, max_winding_c])
        self._joules = np.concatenate([self._joules, joules])

    def series(self) -> Series:
        """Return the winding temperatures over time."""
        used = self._count > 0
        return Series(
            seconds=(np.flatnonzero(used) / SERIES_HZ).tolist(),
            mean_winding_c=(self._sum[used] / self._count[used, None]).tolist(),
            max_winding_c=self._highest[used].tolist(),
        )

    def motors(self, world: World) -> list[MotorHeat]:
        """Return the load and temperature of each motor."""
        time_s = sum(self.seconds)
        torque = np.sqrt(self._square_seconds / time_s)
        motors = world.motors
        found = sustain(motors.model, self._joules.sum(axis=0) / time_s, motors.limit_c, motors.ambient_c)
        heats: list[MotorHeat] = []
        for i, joint in enumerate(world.robot.joints):
            ratio, to_limit = float(found.utilization_ratio[i]), float(found.seconds_to_limit[i])
            heats.append(
                MotorHeat(
                    joint=joint.name,
                    motor=joint.motor.name,
                    max_winding_c=float(self._max_winding[:, i].max()),
                    mean_max_winding_c=float(self._max_winding[:, i].mean()),
                    limit_c=joint.motor.winding_limit_c,
                    equivalent_torque_nm=float(torque[i]),
                    rated_torque_nm=joint.motor.rated_torque_nm,
                    utilization_ratio=ratio if np.isfinite(ratio) else None,
                    duty_percent=float(100 * self._working_seconds[i] / time_s),
                    joules=float(self._joules[:, i].mean()),
                    steady_winding_c=float(found.steady_winding_c[i]),
                    seconds_to_limit=to_limit if np.isfinite(to_limit) else None,
                    thermal_basis=joint.motor.need_thermal("simulated motor heat").basis,
                )
            )
        return heats
