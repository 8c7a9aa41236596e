"""How many more episodes like the last ones fit before a motor is at its limit?

A robot that records does the same again and again: a mean load while an episode lasts, another in the pause after it.
Two exact steps an episode, so a hundred of them are reckoned in well under a millisecond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

MOST = 1000
"""More episodes than this are as good as any number."""

AT_ONCE = 50
"""Episodes that are reckoned before looking whether a limit was passed."""

SETTLED_K = 1e-3
"""Where an episode begins so little warmer than the one before, nothing comes any more [K]."""

LAST = 3
"""Episodes whose mean stands for those to come."""

SHORTEST_S = 1.0
"""What is shorter was a slip of the hand [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an episode asks of the motors, (motors,)."""

    load: Load
    """Mean load while it is recorded [W]."""
    seconds: float
    """How long it takes [s]."""
    pause_s: float
    """Rest until the next one begins [s]."""
    idle: Load
    """Mean load in the pause [W]: what holding the idle pose costs."""

    def __mul__(self, scale: Array | float) -> Work:
        """Return the same work with so many times the heat, (motors,)."""
        return Work(load=self.load * scale, seconds=self.seconds, pause_s=self.pause_s, idle=self.idle * scale)


def episodes_left(model: TwoNodeModel, state_c: Array, ambient_c: Array, limit_c: Array, work: Work) -> Array:
    """Return how many episodes end with each winding below its limit, (motors,); infinity where there is no end.

    `state_c` (motors, 2) [°C] is that at the begin of the next episode, `limit_c` (motors,) [°C]; NaN for no limit.
    The winding is hottest at the end of an episode.
    """
    warm = _affine(model, work.load, ambient_c, work.seconds)
    whole = _affine(model, work.idle, ambient_c, work.pause_s) @ warm
    state = np.concatenate([state_c, np.ones((len(state_c), 1))], axis=-1)[..., None]
    limit = np.where(np.isnan(limit_c), np.inf, limit_c)
    left = np.full(len(limit), np.inf)
    for done in range(0, MOST, AT_ONCE):
        begins = [state]
        for _ in range(AT_ONCE):
            begins.append(whole @ begins[-1])
        peaks = (warm[:, :1] @ np.stack(begins[:-1]))[..., 0, 0]
        over = peaks > limit
        left = np.where(np.isinf(left) & over.any(axis=0), done + over.argmax(axis=0), left)
        # A motor that is over goes on getting hotter in this reckoning, perhaps beyond all bounds.
        going = np.isinf(left)
        if not going.any() or np.abs(begins[-1] - begins[-2])[going].max() < SETTLED_K:
            break
        state = np.where(going[:, None, None], begins[-1], state)
    return left


def _affine(model: TwoNodeModel, load: Load, ambient_c: Array, seconds: float) -> Array:
    """Return the matrices (motors, 3, 3) that step (winding, housing, 1) by `seconds` of a constant load."""
    r = model.response(load.copper_w, seconds)
    u1, u2 = model.inputs(load, ambient_c)
    one, none = np.ones(len(model)), np.zeros(len(model))
    rows = [(r.e11, r.e12, r.i11 * u1 + r.i12 * u2), (r.e21, r.e22, r.i21 * u1 + r.i22 * u2), (none, none, one)]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


@dataclass(slots=True)
class _Stretch:
    """Energy and duration of an episode or a pause."""

    copper_j: Array
    other_j: Array
    seconds: float = 0.0

    def add(self, load: Load, dt_s: float) -> None:
        self.copper_j += load.copper_w * dt_s
        self.other_j += load.other_w * dt_s
        self.seconds += dt_s


class EpisodeLoads:
    """The mean load of the last episodes and of the pauses between them. Shapes (motors,)."""

    def __init__(self, motors: int) -> None:
        """Start knowing no episode."""
        self._motors = motors
        self._now, self._recording = self._stretch(), False
        self._episodes: deque[_Stretch] = deque(maxlen=LAST)
        self._pauses: deque[_Stretch] = deque(maxlen=LAST)

    def _stretch(self) -> _Stretch:
        return _Stretch(np.zeros(self._motors), np.zeros(self._motors))

    def add(self, load: Load, dt_s: float, *, recording: bool) -> bool:
        """Count `dt_s` [s] under a load [W]; say whether an episode has ended with it."""
        ended = False
        if recording != self._recording:
            ended = self._recording and self._now.seconds >= SHORTEST_S
            if ended:
                self._episodes.append(self._now)
            elif recording and self._episodes:
                self._pauses.append(self._now)
            self._now, self._recording = self._stretch(), recording
        self._now.add(load, dt_s)
        return ended

    def __len__(self) -> int:
        """Return of how many episodes the mean is."""
        return len(self._episodes)

    @property
    def planned(self) -> Load | None:
        """Mean load of the last episodes [W]: what the planned task asks; None before the first has ended."""
        return _mean(self._episodes) if self._episodes else None

    @property
    def work(self) -> Work | None:
        """The last episodes and pauses as one that comes again and again; None before the first has ended."""
        if not self._episodes:
            return None
        # No pause has ended before the second episode: then the present one stands for it.
        pauses = list(self._pauses) or ([] if self._recording else [self._now])
        seconds = [float(np.mean([s.seconds for s in kept])) if kept else 0.0 for kept in (self._episodes, pauses)]
        idle = _mean(pauses) if pauses else Load(np.zeros(self._motors), np.zeros(self._motors))
        return Work(load=_mean(self._episodes), seconds=seconds[0], pause_s=seconds[1], idle=idle)

    def rest_s(self, work: Work) -> float:
        """Return how much of the usual pause is still to come [s]."""
        return 0.0 if self._recording else max(0.0, work.pause_s - self._now.seconds)


def _mean(stretches: deque[_Stretch] | list[_Stretch]) -> Load:
    seconds = max(sum(s.seconds for s in stretches), 1e-9)
    copper_j, other_j = (np.sum([getattr(s, name) for s in stretches], axis=0) for name in ("copper_j", "other_j"))
    return Load(copper_j / seconds, other_j / seconds)


def describe(left: Array, episodes: int, joints: Sequence[str]) -> str:
    """Return what the operator should hear of the episodes left (motors,); empty where there is no end, or none yet."""
    if not episodes or not np.isfinite(left).any():
        return ""
    count, joint = int(np.nanmin(left)), joints[int(np.nanargmin(left))]
    like = "the last one" if episodes == 1 else f"the last {episodes}"
    if count == 0:
        return f"no episode like {like} fits any more: let {joint} cool"
    more = "1 more episode like" if count == 1 else f"{count} more episodes like"
    return f"{more} {like} {'fits' if count == 1 else 'fit'}; {joint} ends them"
