"""The interface between a policy and the worlds that it acts in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.sim.world import World
from waldo.typing import Array

type Observation = Mapping[str, NDArray[np.float32] | NDArray[np.uint8] | CameraImages | list[str]]
"""LeRobot's keys, worlds first: `observation.state` (worlds, joints) float32 [rad], `observation.environment_state`
(worlds, n) float32, `observation.images.<camera>` (worlds, height, width, 3) uint8, `task` one text for each world.
Images may be `CameraImages`, which are rendered when they are indexed or converted to an array."""


type ImageSizes = Mapping[str, tuple[int, int]]
"""`observation.images.<camera>` -> width and height [px]."""


@runtime_checkable
class Policy(Protocol):
    """Acts in many worlds at once.

    A policy that needs images of another size than the cameras' own has an attribute `image_sizes` (ImageSizes) too.
    """

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


def image_sizes(policy: Policy) -> ImageSizes:
    """Return the sizes of a policy's images that are not those of the cameras."""
    return getattr(policy, "image_sizes", {})


class CameraImages:
    """The images of one camera in all worlds, (worlds, height, width, 3) uint8, rendered when they are read.

    A policy with a queue of actions looks at the images only when the queue is empty. `images[worlds]` renders the
    images of some worlds, `numpy.asarray(images)` those of all; either is valid until the worlds are stepped.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shared: _SharedImages, camera: str) -> None:
        """Initialize without an image."""
        self._shared, self._camera = shared, camera
        width, height = shared.sizes[camera]
        self.shape = (shared.world.worlds, height, width, 3)

    def __len__(self) -> int:
        """Return the number of worlds."""
        return self.shape[0]

    def __getitem__(self, worlds: Any) -> NDArray[np.uint8]:
        """Return the images of the worlds that an index of the first axis selects."""
        chosen = np.arange(len(self))[worlds]
        if chosen.ndim == 0:
            return self._image(int(chosen))
        images = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, index in enumerate(chosen):
            images[place] = self._image(int(index))
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the images of all worlds."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def _image(self, index: int) -> NDArray[np.uint8]:
        found = self._shared.images(index)
        return np.zeros(self.shape[1:], np.uint8) if found is None else found[self._camera]


class _SharedImages:
    """The images of all cameras of one observation: a world is copied once for all of its cameras."""

    def __init__(self, world: World, sizes: Mapping[str, tuple[int, int]], active: NDArray[np.bool_] | None) -> None:
        self.world, self.sizes = world, sizes
        self._active = active
        self._ticks = world.ticks.copy()
        self._images: dict[int, Mapping[str, NDArray[np.uint8]]] = {}

    def images(self, index: int) -> Mapping[str, NDArray[np.uint8]] | None:
        """Return camera -> image of a world; None for a world that is not active."""
        if self._active is not None and not self._active[index]:
            return None
        if index not in self._images:
            if self.world.ticks[index] != self._ticks[index]:
                raise RuntimeError("the images of an observation were read after the worlds had been stepped")
            self._images[index] = self.world.render_cameras(index, self.sizes)
        return self._images[index]


def observe(
    world: World,
    image_keys: tuple[str, ...] = (),
    sizes: ImageSizes | None = None,
    active: NDArray[np.bool_] | None = None,
) -> Observation:
    """Return the observation of all worlds.

    Args:
        world: The worlds.
        image_keys: The `observation.images.<camera>` keys to render.
        sizes: Sizes of images that are not those of the cameras.
        active: Worlds that are rendered, (worlds,); the images of others are black. None: all.
    """
    observation: dict[str, NDArray[np.float32] | NDArray[np.uint8] | CameraImages | list[str]] = {
        schema.OBSERVATION_STATE: world.position.astype(np.float32),
        schema.OBSERVATION_ENVIRONMENT: world.environment().astype(np.float32),
        "task": [world.instruction(i) for i in range(world.worlds)],
    }
    names = {key: key.removeprefix(schema.OBSERVATION_IMAGES) for key in image_keys}
    shared = _SharedImages(
        world, {name: (sizes or {}).get(key) or world.image_size(name) for key, name in names.items()}, active
    )
    return observation | {key: CameraImages(shared, name) for key, name in names.items()}
