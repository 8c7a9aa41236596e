"""The interface between a policy and the worlds that it acts in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.sim.world import World
from waldo.typing import Array

type Observation = Mapping[str, NDArray[np.float32] | NDArray[np.uint8] | list[str]]
"""LeRobot's keys, worlds first: `observation.state` (worlds, joints) float32 [rad], `observation.environment_state`
(worlds, n) float32, `observation.images.<camera>` (worlds, height, width, 3) uint8, `task` one text for each world."""


@runtime_checkable
class Policy(Protocol):
    """Acts in many worlds at once."""

    fps: float
    """Actions per second; a divisor of the control rate, 60 Hz."""
    image_keys: tuple[str, ...]
    """The `observation.images.<camera>` keys that it needs; only these cameras are rendered."""

    def reset(self, which: NDArray[np.int64] | None = None) -> None:
        """Discard the history of the worlds `which` (None: all)."""
        ...

    def act(self, observation: Observation) -> Array:
        """Return position targets, (worlds, joints) [rad]."""
        ...


type PolicyFactory = Callable[[World], Policy]
"""Makes a policy for given worlds: a scripted expert reads their ground truth."""


def make_policy(policy: Policy | PolicyFactory, world: World) -> Policy:
    """Return the policy, or the one that the factory makes for `world`."""
    # A policy class has all attributes of a policy, but is a factory.
    if isinstance(policy, Policy) and not isinstance(policy, type):
        return policy
    return policy(world)


def observe(world: World, image_keys: tuple[str, ...] = (), size: tuple[int, int] | None = None) -> Observation:
    """Return the observation of all worlds.

    Args:
        world: The worlds.
        image_keys: The `observation.images.<camera>` keys to render.
        size: Width and height of the images [px]; None: the camera's own.
    """
    observation: dict[str, NDArray[np.float32] | NDArray[np.uint8] | list[str]] = {
        schema.OBSERVATION_STATE: world.position.astype(np.float32),
        schema.OBSERVATION_ENVIRONMENT: world.environment().astype(np.float32),
        "task": [world.goal(i).text for i in range(world.worlds)],
    }
    for key in image_keys:
        name = key.removeprefix(schema.OBSERVATION_IMAGES)
        observation[key] = np.stack([world.render(i, name, size) for i in range(world.worlds)])
    return observation
