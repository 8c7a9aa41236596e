"""Number of further episodes that fit before a motor reaches its temperature limit.

A robot that records repeats itself: one mean load during an episode, another during the pause after it. Each episode is
two exact steps of the two-node model, so a hundred of them are computed in well under a millisecond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from waldo.errors import count
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

MAX_EPISODES = 1000
"""Number of episodes after which the count is infinite."""

BATCH = 50
"""Episodes that are computed before the limits are checked."""

SETTLED_K = 1e-3
"""Change from one episode to the next below which the temperatures have settled [K]."""

AVERAGED = 3
"""Number of past episodes whose mean load represents the next ones."""

MIN_EPISODE_S = 1.0
"""Shorter episodes are ignored: they were started by mistake [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeCycle:
    """An episode and the pause after it. Loads (motors,)."""

    load: Load
    """Mean load during the episode [W]."""
    seconds: float
    """Duration of the episode [s]."""
    pause_s: float
    """Duration of the pause until the next one starts [s]."""
    idle: Load
    """Mean load during the pause, from holding the idle pose [W]."""

    def __mul__(self, scale: Array | float) -> EpisodeCycle:
        """Return the same cycle with its loads multiplied by `scale`, (motors,)."""
        return EpisodeCycle(load=self.load * scale, seconds=self.seconds, pause_s=self.pause_s, idle=self.idle * scale)


def episodes_left(model: TwoNodeModel, state_c: Array, ambient_c: Array, limit_c: Array, cycle: EpisodeCycle) -> Array:
    """Return how many episodes end with each winding below its limit.

    Args:
        model: The motors' constants.
        state_c: Temperatures at the start of the next episode, (motors, 2) [°C].
        ambient_c: Ambient temperatures (motors,) [°C].
        limit_c: Limits (motors,) [°C]; NaN for none.
        cycle: The episode that is repeated.

    Returns:
        Numbers of episodes (motors,); infinity if the limit is never reached. A winding has its maximum temperature
        at the end of an episode, so only the ends are checked.
    """
    warm = model.affine(cycle.load, ambient_c, cycle.seconds)
    whole = model.affine(cycle.idle, ambient_c, cycle.pause_s) @ warm
    state = np.concatenate([state_c, np.ones((len(state_c), 1))], axis=-1)[..., None]
    limit = np.where(np.isnan(limit_c), np.inf, limit_c)
    left = np.full(len(limit), np.inf)
    for done in range(0, MAX_EPISODES, BATCH):
        starts = [state]
        for _ in range(BATCH):
            starts.append(whole @ starts[-1])
        peaks = (warm[:, :1] @ np.stack(starts[:-1]))[..., 0, 0]
        over = peaks > limit
        left = np.where(np.isinf(left) & over.any(axis=0), done + over.argmax(axis=0), left)
        # A motor beyond its limit would get hotter without bound: leave it out of the next batch.
        unlimited = np.isinf(left)
        if not unlimited.any() or np.abs(starts[-1] - starts[-2])[unlimited].max() < SETTLED_K:
            break
        state = np.where(unlimited[:, None, None], starts[-1], state)
    return left


@dataclass(slots=True)
class _Period:
    """Energy (motors,) and duration of an episode or a pause."""

    copper_j: Array
    other_j: Array
    seconds: float = 0.0

    def add(self, load: Load, dt_s: float) -> None:
        self.copper_j += load.copper_w * dt_s
        self.other_j += load.other_w * dt_s
        self.seconds += dt_s


class EpisodeLoads:
    """Mean loads of the last episodes and of the pauses between them. Shapes (motors,)."""

    def __init__(self, motors: int) -> None:
        self._motors = motors
        self._now, self._recording = self._period(), False
        self._episodes: deque[_Period] = deque(maxlen=AVERAGED)
        self._pauses: deque[_Period] = deque(maxlen=AVERAGED)

    def _period(self) -> _Period:
        return _Period(np.zeros(self._motors), np.zeros(self._motors))

    def add(self, load: Load, dt_s: float, *, recording: bool) -> bool:
        """Count `dt_s` [s] under a load [W]; return whether an episode ended before it."""
        ended = False
        if recording != self._recording:
            ended = self._recording and self._now.seconds >= MIN_EPISODE_S
            if ended:
                self._episodes.append(self._now)
            elif recording and self._episodes:
                self._pauses.append(self._now)
            self._now, self._recording = self._period(), recording
        self._now.add(load, dt_s)
        return ended

    def __len__(self) -> int:
        """Return the number of episodes that the mean consists of."""
        return len(self._episodes)

    @property
    def planned(self) -> Load | None:
        """Mean load of the last episodes [W]; None before the first has ended."""
        return _mean(self._episodes) if self._episodes else None

    @property
    def cycle(self) -> EpisodeCycle | None:
        """Mean of the last episodes and pauses; None before the first episode has ended."""
        if not self._episodes:
            return None
        # Before the second episode no pause has ended: the present one represents it.
        pauses = list(self._pauses) or ([] if self._recording else [self._now])
        seconds = [float(np.mean([s.seconds for s in kept])) if kept else 0.0 for kept in (self._episodes, pauses)]
        idle = _mean(pauses) if pauses else Load(np.zeros(self._motors), np.zeros(self._motors))
        return EpisodeCycle(load=_mean(self._episodes), seconds=seconds[0], pause_s=seconds[1], idle=idle)

    def remaining_pause_s(self, cycle: EpisodeCycle) -> float:
        """Return the part of the usual pause that remains [s]; 0 during an episode."""
        return 0.0 if self._recording else max(0.0, cycle.pause_s - self._now.seconds)


def _mean(periods: deque[_Period] | list[_Period]) -> Load:
    seconds = max(sum(period.seconds for period in periods), 1e-9)
    copper_j, other_j = (np.sum([getattr(p, name) for p in periods], axis=0) for name in ("copper_j", "other_j"))
    return Load(copper_j / seconds, other_j / seconds)


def describe(left: Array, episodes: int, joints: Sequence[str]) -> str:
    """Return the episode budget as text for the operator.

    Args:
        left: Further episodes of each motor, (motors,).
        episodes: Number of past episodes that the estimate rests on.
        joints: Names of the joints.

    Returns:
        Text; empty if the number is unlimited or not yet known.
    """
    if not episodes or not np.isfinite(left).any():
        return ""
    number, joint = int(np.nanmin(left)), joints[int(np.nanargmin(left))]
    like = "the last one" if episodes == 1 else f"the last {episodes}"
    if number == 0:
        return f"no further episode like {like} before {joint} reaches its temperature limit; let it cool down"
    return f"about {count(number, 'more episode')} like {like} before {joint} reaches its temperature limit"
