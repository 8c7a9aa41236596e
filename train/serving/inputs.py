"""The observation of a request, in the names that LeRobot policies know.

openpi's examples name their inputs differently for each robot ("observation/state", "images/cam_high", "prompt"). The
names here are LeRobot's; a slash stands for a dot, and the start "observation." may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.schema import OBSERVATION, OBSERVATION_IMAGES, OBSERVATION_STATE
from waldo.train.policies.rtc import DELAY, PREFIX
from waldo.train.serving.wire import WireError

TASK_KEYS = ("task", "prompt", "instruction")
"""Names of the instruction; openpi's is "prompt"."""

SAME_VIEW = 0.02
"""Largest relative difference of two aspect ratios of which one image is scaled to the other's size."""

MAX_TEXT = 2_000
"""Longest instruction [characters]."""


@dataclass(frozen=True, kw_only=True)
class PolicyInputs:
    """What a policy needs of an observation."""

    vectors: Mapping[str, int]
    """Key such as `observation.state` -> number of values."""
    images: Mapping[str, tuple[int, int]]
    """Key such as `observation.images.front` -> width and height [px]."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """Key in a request -> key of the policy, beside LeRobot's names."""
    prefix_joints: int | None = None
    """Joints of the actions that a policy with real-time chunking continues; None: others ignore them."""

    def read(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the observation of a request: vectors (n,) float32, images (height, width, 3) uint8, `task` a text.

        Raises:
            WireError: If an input is missing, has another shape or is not finite.
        """
        found = {self.aliases.get(key, key): value for key, value in _flatten(message)}
        found = {key if key in self.keys else OBSERVATION + key: value for key, value in found.items()}
        observation: dict[str, Any] = {"task": _instruction(message)}
        if missing := [key for key in self.keys if key not in found]:
            given = ", ".join(sorted(str(key) for key in message)) or "nothing"
            raise WireError(f"an observation lacks {', '.join(missing)}; it contains {given}")
        for key, size in self.vectors.items():
            observation[key] = _vector(key, found[key], size)
        for key, size in self.images.items():
            observation[key] = _image(key, found[key], size)
        if self.prefix_joints is not None and PREFIX in message:
            observation[PREFIX] = _prefix(message[PREFIX], self.prefix_joints)
            observation[DELAY] = _delay(message.get(DELAY), len(observation[PREFIX]))
        return observation

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the inputs, without the instruction."""
        return (*self.vectors, *self.images)


def policy_inputs(
    features: Mapping[str, tuple[int, ...]],
    aliases: Mapping[str, str] | None = None,
    *,
    prefix_joints: int | None = None,
) -> PolicyInputs:
    """Return the inputs of a policy from their shapes; those of images have the channels first."""
    images = {key: (shape[2], shape[1]) for key, shape in features.items() if key.startswith(OBSERVATION_IMAGES)}
    vectors = {key: int(np.prod(shape)) for key, shape in features.items() if key not in images}
    known = _aliases(images) | dict(aliases or {})
    return PolicyInputs(vectors=vectors, images=images, aliases=known, prefix_joints=prefix_joints)


def _aliases(images: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """Return the names that openpi's examples give to the state and to cameras: "observation/wrist_image"."""
    found = {"state": OBSERVATION_STATE}
    for key in images:
        camera = key.removeprefix(OBSERVATION_IMAGES)
        for name in (f"images.{camera}", f"{camera}_image", f"image_{camera}", f"image.{camera}"):
            found |= {name: key, OBSERVATION + name: key}
    if len(images) == 1:
        found |= {"image": next(iter(images)), OBSERVATION + "image": next(iter(images))}
    return found


def _flatten(message: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the values of a message and of maps in it, with joined keys."""
    found: list[tuple[str, Any]] = []
    for key, value in message.items():
        name = prefix + str(key).replace("/", ".")
        found += (
            _flatten(value, f"{name}.") if isinstance(value, dict) and not prefix.count(".") > 3 else [(name, value)]
        )
    return found


def _instruction(message: Mapping[str, Any]) -> str:
    """Return the instruction of a request; empty if it has none."""
    text = next((message[key] for key in TASK_KEYS if key in message), "")
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise WireError(f"the instruction is {str(text)[:80]!r}, expected a text of at most {MAX_TEXT} characters")
    return text


def _vector(key: str, value: Any, size: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which is refused below
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise WireError(f"{key} is {type(value).__name__}, expected {size} numbers") from error
    if vector.shape not in ((size,), (1, size)):
        raise WireError(f"{key} has the shape {vector.shape}, expected ({size},)")
    if not np.isfinite(vector).all():
        raise WireError(f"{key} contains a value that is not finite")
    return vector.reshape(size)


def _prefix(value: Any, joints: int) -> NDArray[np.float32]:
    """Return the actions that a policy continues, (actions, joints)."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] != joints or not len(value):
        found = f"the shape {value.shape}" if isinstance(value, np.ndarray) else f"the type {type(value).__name__}"
        raise WireError(f"{PREFIX} has {found}, expected (actions, {joints})")
    return _vector(PREFIX, value.reshape(-1), value.size).reshape(value.shape)


def _delay(value: Any, actions: int) -> int:
    """Return how many actions of a prefix will have been carried out when the answer arrives."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise WireError(f"{DELAY} is {str(value)[:80]}, expected a number of actions from 0")
    return min(int(value), actions)


def _image(key: str, value: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image of the size that the policy was trained on."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        found = f"of type {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise WireError(f"{key} is {found}, expected an array of uint8, 0 to 255")
    image = value[0] if value.ndim == 4 and len(value) == 1 else value
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise WireError(f"{key} has the shape {value.shape}, expected (height, width, 3) or (3, height, width)")
    return resize(key, image, size)


def resize(key: str, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) scaled to `size`, width and height [px].

    Raises:
        WireError: If the aspect ratio is another one: the image would show another field of view.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(image)
    if abs(width * size[1] / (height * size[0]) - 1) > SAME_VIEW:
        raise WireError(f"{key} is {width}x{height}, expected the aspect ratio of {size[0]}x{size[1]}")
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
