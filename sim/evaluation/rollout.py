"""The control loop of a policy: observe, act at the policy's own rate, apply the targets at the control rate.

The loop knows neither simulation nor ROS. Evaluation and the subtask runner pass functions over a batch of worlds; on a
robot, `observe` reads the newest state and images, and `act` publishes the command and waits for the next period:

    rollout(policy, observe=robot.observe, act=robot.command, on_tick=lambda tick: not stop.is_set(), rate_hz=60)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from waldo.errors import InvalidValueError
from waldo.sim.policy import Observation, Policy
from waldo.sim.world import CONTROL_HZ
from waldo.typing import Array

type Advance = Callable[[int, int, str], None]
"""Progress callback: (steps done, steps in total, note for the user)."""


def no_progress(done: int, total: int, note: str) -> None:
    """Ignore progress: the default callback."""


def rollout(
    policy: Policy,
    *,
    observe: Callable[[tuple[str, ...]], Observation],
    act: Callable[[Array], None],
    on_tick: Callable[[int], bool],
    rate_hz: float = CONTROL_HZ,
) -> int:
    """Run a policy until `on_tick` returns False.

    Args:
        policy: The policy; it is reset first.
        observe: Returns the current observation with the given image keys; called once per action of the policy.
        act: Applies position targets (worlds, joints) [rad] for one control period; called at every tick.
        on_tick: Called after every tick with the number of ticks so far; returns whether to continue.
        rate_hz: The control rate [Hz].

    Returns:
        The number of ticks.

    Raises:
        InvalidValueError: If the policy's rate does not divide the control rate.
    """
    hold = ticks_per_action(policy.fps, rate_hz)
    policy.reset()
    targets = np.zeros(0)
    for tick in itertools.count():
        if tick % hold == 0:
            targets = np.asarray(policy.act(observe(policy.image_keys)), dtype=float)
        act(targets)
        if not on_tick(tick + 1):
            return tick + 1
    raise AssertionError("an endless loop ended")


def ticks_per_action(fps: float, rate_hz: float = CONTROL_HZ) -> int:
    """Return for how many control ticks an action is held."""
    hold = rate_hz / fps
    if hold != round(hold):
        raise InvalidValueError("fps", fps, f"a divisor of the control rate {rate_hz:g}")
    return round(hold)
