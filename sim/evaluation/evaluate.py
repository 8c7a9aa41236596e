"""Evaluate a policy in simulation: all seeds at once, success with its uncertainty, and what it did to the motors.

An episode counts until its goal is reached or its time is up; so does its heat. The seeds are fixed, so two policies
meet the same worlds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.console import progress
from waldo.errors import InvalidValueError
from waldo.robots.thermal.limits import AMBIENT_C
from waldo.robots.thermal.two_node import Load
from waldo.sim.evaluation.intervals import clopper_pearson, wilson
from waldo.sim.evaluation.video import VideoWriter
from waldo.sim.policy import Policy, observe
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array

SERIES_HZ = 10
"""Samples a second of the time series that plots are made from."""
VIDEO_HZ = 30
"""Frames a second of a video."""
TAIL_S = 0.5
"""A video goes on for this long after success [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What is evaluated and how."""

    task: str = "lift"
    """Name of the task."""
    episodes: int = 50
    """Number of episodes, one seed each."""
    first_seed: int = 100_000
    """Seed of the first episode; keep it away from the seeds of demonstrations."""
    horizon_s: float | None = None
    """Time that an episode may take [s]; None means the task's own."""
    start_c: float = AMBIENT_C
    """Temperature of windings and housings at the start [°C]."""
    worlds: int = 500
    """Largest number of episodes that run side by side."""
    threads: int | None = None
    """Threads for the physics; None means all cores, at most 8."""
    videos: int = 3
    """Number of episodes to film, the first ones."""
    video_size: tuple[int, int] = (640, 480)
    """Width and height of a video."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no evaluation."""
        for name in ("episodes", "worlds"):
            if getattr(self, name) < 1:
                raise InvalidValueError(name, getattr(self, name), "a number from 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MotorHeat:
    """One motor over all episodes."""

    joint: str
    motor: str
    peak_winding_c: float
    """Hottest winding in any episode [°C]."""
    mean_peak_winding_c: float
    """Mean over episodes of the hottest winding [°C]."""
    limit_c: float | None
    """The winding's limit [°C]."""
    equivalent_torque_nm: float
    """Thermal-equivalent torque: root mean square over all episodes' time [N·m]."""
    rated_torque_nm: float | None
    """Torque that the motor can hold for ever [N·m]."""
    utilization_ratio: float | None
    """Thermal-equivalent torque over rated; above 1 this work cannot go on for ever."""
    duty_percent: float
    """Share of time under load, ED% of IEC 60034-1 [%]."""
    joules: float
    """Mean heat put into the winding in an episode [J]."""
    steady_winding_c: float
    """Winding temperature that such episodes end at, one after the other for ever [°C]."""
    seconds_to_limit: float | None
    """Time of such episodes, one after the other from ambient, until the limit [s]; None where it is never reached."""
    thermal_basis: str
    """How the thermal constants were had: published, fitted or assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Winding temperatures over time, at SERIES_HZ, of the episodes still running."""

    seconds: list[float]
    mean_winding_c: list[list[float]]
    """(samples, motors) [°C]"""
    peak_winding_c: list[list[float]]
    """(samples, motors) [°C]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """What came of an evaluation."""

    config: EvalConfig
    policy: str
    robot: str
    instruction: str
    """The task in words, of the first episode."""
    seeds: list[int]
    success: list[bool]
    seconds: list[float]
    """Time to success, or the time that the episode took [s]."""
    wilson_95: tuple[float, float]
    clopper_pearson_95: tuple[float, float]
    motors: list[MotorHeat]
    series: Series
    videos: dict[int, str] = field(default_factory=lambda: dict[int, str]())
    """Seed -> file of its video."""
    wall_s: float
    """How long the evaluation took [s]."""

    @property
    def successes(self) -> int:
        """Number of episodes whose goal was reached."""
        return sum(self.success)

    @property
    def rate(self) -> float:
        """Share of episodes whose goal was reached."""
        return self.successes / len(self.success)


class _Totals:
    """What is added up over batches of episodes."""

    def __init__(self, motors: int, samples: int) -> None:
        self.success: list[bool] = []
        self.seconds: list[float] = []
        self.peak: Array = np.zeros((0, motors))
        self.joules: Array = np.zeros((0, motors))
        self.square_seconds = np.zeros(motors)
        self.working_seconds = np.zeros(motors)
        self.sum = np.zeros((samples, motors))
        self.highest = np.full((samples, motors), -np.inf)
        self.count = np.zeros(samples)


class _Film:
    """Videos of the first few worlds."""

    def __init__(self, world: World, seeds: list[int], folder: Path, size: tuple[int, int]) -> None:
        self._world, self._size = world, size
        self._camera = world.task.views[0]
        self._tail = [round(TAIL_S * VIDEO_HZ)] * len(seeds)
        self._writers = [VideoWriter(folder / f"seed-{seed}.mp4", size, VIDEO_HZ) for seed in seeds]
        self.files = {seed: writer.path.name for seed, writer in zip(seeds, self._writers, strict=True)}

    def shoot(self, finished: NDArray[np.bool_]) -> None:
        for world, writer in enumerate(self._writers):
            if self._tail[world] > 0:
                writer.add(self._world.render(world, self._camera, self._size))
                self._tail[world] -= int(finished[world])

    @property
    def rolling(self) -> bool:
        return any(tail > 0 for tail in self._tail)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def evaluate(
    policy: Policy | Callable[[World], Policy], config: EvalConfig, out: Path | None = None, name: str | None = None
) -> EvalResult:
    """Run the policy on every seed and return what came of it; videos go into `out` (None: no videos).

    `policy`: one that acts, or a function that makes one for the worlds (an expert needs to see them).
    """
    start = time.monotonic()
    count = min(config.episodes, config.worlds)
    world = World(config.task, worlds=count, threads=config.threads)
    # A class is a maker even where it has all of a policy's names.
    actor = policy if isinstance(policy, Policy) and not isinstance(policy, type) else policy(world)
    hold = CONTROL_HZ / actor.fps
    if hold != round(hold):
        raise InvalidValueError("fps", actor.fps, f"a divisor of the control rate {CONTROL_HZ}")
    horizon = round((config.horizon_s or world.task.horizon_s) * CONTROL_HZ)
    totals = _Totals(len(world.robot.joints), horizon * SERIES_HZ // CONTROL_HZ)
    seeds = list(range(config.first_seed, config.first_seed + config.episodes))
    videos: dict[int, str] = {}
    instruction = ""
    with progress() as bar:
        for first in range(0, len(seeds), count):
            some = seeds[first : first + count]
            world.reset(some + some[:1] * (count - len(some)), warm=(config.start_c, config.start_c))
            instruction = instruction or world.goal(0).text
            films = min(config.videos, len(some)) if out is not None and first == 0 else 0
            film = _Film(world, some[:films], out, config.video_size) if out is not None and films else None
            task = bar.add_task(f"episodes {first + 1} to {first + len(some)}", total=horizon, note="")
            tell = partial(bar.update, task, advance=1)
            _run(world, actor, round(hold), horizon, len(some), totals, film, tell)
            bar.update(task, completed=horizon)
            videos |= film.files if film else {}
    world.close()
    return _result(world, actor, name, config, seeds, totals, instruction, videos, time.monotonic() - start)


def _run(
    world: World,
    policy: Policy,
    hold: int,
    horizon: int,
    episodes: int,
    totals: _Totals,
    film: _Film | None,
    tell: Callable[..., None],
) -> None:
    """Run one batch of episodes to its end and add it to the totals; worlds past `episodes` only fill the batch."""
    policy.reset()
    success, finished = np.zeros(world.worlds, dtype=bool), np.zeros(world.worlds, dtype=bool)
    finished[episodes:] = True
    seconds = np.full(world.worlds, horizon / CONTROL_HZ)
    peak, joules = np.zeros_like(world.position), np.zeros_like(world.position)
    targets = world.position.copy()
    for tick in range(horizon):
        if tick % (CONTROL_HZ // VIDEO_HZ) == 0 and film:
            film.shoot(finished)
        if tick % hold == 0:
            targets = np.asarray(policy.act(observe(world, policy.image_keys)), dtype=float)
        # Worlds that are done stand still, which saves their physics; those being filmed go on for the tail.
        going = ~finished
        if film:
            going[: len(film.files)] |= film.rolling
        world.step(targets, None if going.all() else np.flatnonzero(going))
        _sample(world, tick, ~finished, totals)
        now = ~finished & world.goal_reached()
        success |= now
        seconds[now] = (tick + 1) / CONTROL_HZ
        ending = now | (~finished & (tick == horizon - 1))
        if ending.any():
            duty = world.duty
            peak[ending], joules[ending] = duty.peak_winding_c[ending], duty.joules[ending]
            totals.square_seconds += (np.square(duty.equivalent_torque_nm) * duty.seconds)[ending].sum(axis=0)
            totals.working_seconds += (duty.duty_ratio * duty.seconds)[ending].sum(axis=0)
        finished |= ending
        tell(note=f"{success.sum()} of {episodes} done")
        if finished.all() and not (film and film.rolling):
            break
    if film:
        film.close()
    totals.success += success[:episodes].tolist()
    totals.seconds += seconds[:episodes].tolist()
    totals.peak = np.concatenate([totals.peak, peak[:episodes]])
    totals.joules = np.concatenate([totals.joules, joules[:episodes]])


def _sample(world: World, tick: int, running: NDArray[np.bool_], totals: _Totals) -> None:
    every = CONTROL_HZ // SERIES_HZ
    sample = tick // every
    if tick % every or sample >= len(totals.count) or not running.any():
        return
    winding = world.heat[running, :, 0]
    totals.sum[sample] += winding.sum(axis=0)
    totals.highest[sample] = np.maximum(totals.highest[sample], winding.max(axis=0))
    totals.count[sample] += len(winding)


def _result(
    world: World,
    policy: Policy,
    name: str | None,
    config: EvalConfig,
    seeds: list[int],
    totals: _Totals,
    instruction: str,
    videos: dict[int, str],
    wall_s: float,
) -> EvalResult:
    used = totals.count > 0
    successes = sum(totals.success)
    return EvalResult(
        config=config,
        policy=name or type(policy).__name__,
        robot=world.robot.model,
        instruction=instruction,
        seeds=seeds,
        success=totals.success,
        seconds=totals.seconds,
        wilson_95=wilson(successes, len(seeds)),
        clopper_pearson_95=clopper_pearson(successes, len(seeds)),
        motors=_motors(world, totals),
        series=Series(
            seconds=(np.flatnonzero(used) / SERIES_HZ).tolist(),
            mean_winding_c=(totals.sum[used] / totals.count[used, None]).tolist(),
            peak_winding_c=totals.highest[used].tolist(),
        ),
        videos=videos,
        wall_s=wall_s,
    )


def _motors(world: World, totals: _Totals) -> list[MotorHeat]:
    time_s = sum(totals.seconds)
    torque = np.sqrt(totals.square_seconds / time_s)
    load = Load(np.zeros(len(world.robot.joints)), totals.joules.sum(axis=0) / time_s)
    motors = world.motors
    cold = motors.model.at_ambient(motors.ambient_c)
    steady = motors.model.steady(load, motors.ambient_c)[:, 0]
    to_limit = motors.model.time_to(motors.limit_c, cold, load, motors.ambient_c)
    heats: list[MotorHeat] = []
    for i, joint in enumerate(world.robot.joints):
        rated = joint.motor.rated_torque_nm
        heats.append(
            MotorHeat(
                joint=joint.name,
                motor=joint.motor.name,
                peak_winding_c=float(totals.peak[:, i].max()),
                mean_peak_winding_c=float(totals.peak[:, i].mean()),
                limit_c=joint.motor.winding_limit_c,
                equivalent_torque_nm=float(torque[i]),
                rated_torque_nm=rated,
                utilization_ratio=None if rated is None else float(torque[i] / rated),
                duty_percent=float(100 * totals.working_seconds[i] / time_s),
                joules=float(totals.joules[:, i].mean()),
                steady_winding_c=float(steady[i]),
                seconds_to_limit=float(to_limit[i]) if np.isfinite(to_limit[i]) else None,
                thermal_basis=joint.motor.need_thermal("simulated motor heat").basis,
            )
        )
    return heats
