"""Evaluation of a policy in simulation: success with confidence intervals, and motor heat.

Episodes run side by side, one seed each. An episode lasts until its goal is reached or its time is up, and only this
time counts for motor heat. The seeds are fixed, so every policy is evaluated on the same layouts.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.sim.evaluation.results import Control, EvalConfig, EvalResult, success_interval
from waldo.sim.evaluation.rollout import Advance, no_progress, rollout
from waldo.sim.evaluation.totals import EpisodeTotals
from waldo.sim.evaluation.video import VIDEO_FPS, EpisodeVideos
from waldo.sim.policy import ImageSizes, Observation, Policy, PolicyFactory, image_sizes, make_policy, observe
from waldo.sim.world import CONTROL_HZ, World
from waldo.typing import Array


def evaluate(
    policy: Policy | PolicyFactory,
    config: EvalConfig,
    out: Path | None = None,
    name: str | None = None,
    *,
    advance: Advance = no_progress,
) -> EvalResult:
    """Run a policy on every seed.

    Args:
        policy: The policy, or a function that makes one for given worlds.
        config: The options.
        out: Folder for the videos; None: no videos.
        name: Name of the policy in the result; None: the name of its class.
        advance: Progress callback, in ticks.
    """
    start = time.monotonic()
    count = min(config.episodes, config.worlds)
    world = World(config.task, worlds=count, threads=config.threads)
    actor = make_policy(policy, world)
    horizon = max(1, round((config.horizon_s or world.task.horizon_s) * CONTROL_HZ))
    totals = EpisodeTotals(len(world.robot.joints), horizon)
    seeds = list(range(config.first_seed, config.first_seed + config.episodes))
    batches = range(0, len(seeds), count)
    videos: dict[int, str] = {}
    instruction = ""

    def report(tick: int, succeeded: int) -> None:
        earlier = len(totals.success) // count
        note = f"{sum(totals.success) + succeeded} of {len(seeds)} episodes succeeded"
        advance(earlier * horizon + tick, len(batches) * horizon, note)

    for first in batches:
        some = seeds[first : first + count]
        world.reset(some + some[:1] * (count - len(some)), warm=(config.start_c, config.start_c))
        if config.instruction == "wrong":
            own = [world.goal(index) for index in range(count)]
            wrong = [dataclasses.replace(goal, object=world.task.another_object(goal.object)) for goal in own]
            world.instruct(dict(enumerate(wrong)))
        instruction = instruction or world.instruction(0)
        filmed = min(config.videos, len(some)) if out is not None and first == 0 else 0
        video = EpisodeVideos(world, some[:filmed], out, config.video_size) if out is not None and filmed else None
        batch = _Batch(world, len(some), horizon, totals, video, report, image_sizes(actor))
        rollout(actor, observe=batch.observe, act=batch.act, on_tick=batch.on_tick)
        batch.close()
        videos |= video.files if video else {}
    world.close()
    return EvalResult(
        config=config,
        policy=name or type(actor).__name__,
        robot=world.robot.model,
        instruction=instruction,
        seeds=seeds,
        success=totals.success,
        seconds=totals.seconds,
        wilson_95=success_interval(sum(totals.success), len(seeds)),
        clopper_pearson_95=success_interval(sum(totals.success), len(seeds), "exact"),
        motors=totals.motors(world),
        series=totals.series(),
        videos=videos,
        wall_s=time.monotonic() - start,
    )


def evaluate_control(policy: Policy | PolicyFactory, config: EvalConfig, *, advance: Advance = no_progress) -> Control:
    """Run a policy on the same seeds with the instruction of another object; count how often it reaches the own goal.

    A policy that ignores its instruction reaches it as often as without the control.

    Args:
        policy: The policy, or a function that makes one for given worlds.
        config: The options of the evaluation that this is the control of.
        advance: Progress callback, in ticks.

    Raises:
        UnsupportedOptionError: If the task has only one object.
    """
    found = evaluate(policy, dataclasses.replace(config, instruction="wrong", videos=0), advance=advance)
    return Control(success=found.success, wilson_95=found.wilson_95)


class _Batch:
    """One batch of episodes; worlds beyond `episodes` only fill the batch."""

    def __init__(
        self,
        world: World,
        episodes: int,
        horizon: int,
        totals: EpisodeTotals,
        video: EpisodeVideos | None,
        report: Callable[[int, int], None],
        sizes: ImageSizes,
    ) -> None:
        self._world, self._episodes, self._horizon = world, episodes, horizon
        self._totals, self._video, self._report, self._sizes = totals, video, report, sizes
        self._tick = 0
        self._success = np.zeros(world.worlds, dtype=bool)
        self._finished = np.zeros(world.worlds, dtype=bool)
        self._finished[episodes:] = True
        self._seconds = np.full(world.worlds, horizon / CONTROL_HZ)
        self._max_winding: Array = np.zeros_like(world.position)
        self._joules: Array = np.zeros_like(world.position)

    @property
    def _active(self) -> NDArray[np.bool_]:
        """Worlds that continue. Finished ones stand still, except filmed ones until the end of the video."""
        active = ~self._finished
        if self._video:
            active[: len(self._video.files)] |= self._video.recording
        return active

    def observe(self, image_keys: tuple[str, ...]) -> Observation:
        """Return the observation of all worlds; those that stand still are not rendered."""
        return observe(self._world, image_keys, self._sizes, self._active)

    def act(self, targets: Array) -> None:
        """Step the unfinished worlds."""
        video = self._video
        if video and self._tick % (CONTROL_HZ // VIDEO_FPS) == 0:
            video.add_frames(self._finished)
        stepping = self._active
        self._world.step(targets, None if stepping.all() else np.flatnonzero(stepping))

    def on_tick(self, tick: int) -> bool:
        """Record successes and timeouts after a tick; return whether any episode or video continues."""
        world = self._world
        running = ~self._finished
        self._totals.sample(world, self._tick, running)
        self._tick = tick
        reached = running & world.goal_reached()
        self._success |= reached
        self._seconds[reached] = tick / CONTROL_HZ
        self._end(reached | (running & (tick == self._horizon)))
        recording = self._video is not None and self._video.recording
        continues = tick < self._horizon and (recording or not self._finished.all())
        self._report(tick if continues else self._horizon, int(self._success.sum()))
        return continues

    def _end(self, ending: NDArray[np.bool_]) -> None:
        if ending.any():
            self._max_winding[ending], self._joules[ending] = self._totals.add_load(self._world, ending)
            self._finished |= ending

    def close(self) -> None:
        """Add the episodes to the totals and finish the videos."""
        if self._video:
            self._video.close()
        count = self._episodes
        self._totals.add_batch(
            self._success[:count], self._seconds[:count], self._max_winding[:count], self._joules[:count]
        )
