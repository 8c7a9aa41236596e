"""The seam between a policy and the worlds it is evaluated in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waldo.sim.world import World

type Observation = Mapping[str, NDArray[np.float32] | NDArray[np.uint8] | list[str]]
"""LeRobot's keys, worlds first: `observation.state` (worlds, joints) float32 [rad], `observation.environment_state`
(worlds, n) float32, `observation.images.<camera>` (worlds, height, width, 3) uint8, `task` a text for each world."""


@runtime_checkable
class Policy(Protocol):
    """What acts in many worlds at once."""

    fps: float
    """Actions a second; a divisor of the control rate, 60."""
    image_keys: tuple[str, ...]
    """The `observation.images.<camera>` that it wants; only these are drawn."""

    def reset(self, which: NDArray[np.int64] | None = None) -> None:
        """Forget what went before in the worlds `which` (None: all)."""
        ...

    def act(self, observation: Observation) -> NDArray[np.float64]:
        """Return position targets, (worlds, joints) [rad]."""
        ...


IMAGES = "observation.images."


def observe(world: World, image_keys: tuple[str, ...] = (), size: tuple[int, int] | None = None) -> Observation:
    """Return what a policy sees of all worlds; pictures of `size` (width, height) or the camera's own."""
    observation: dict[str, NDArray[np.float32] | NDArray[np.uint8] | list[str]] = {
        "observation.state": world.position.astype(np.float32),
        "observation.environment_state": world.environment().astype(np.float32),
        "task": [world.goal(i).text for i in range(world.worlds)],
    }
    for key in image_keys:
        name = key.removeprefix(IMAGES)
        observation[key] = np.stack([world.render(i, name, size) for i in range(world.worlds)])
    return observation
