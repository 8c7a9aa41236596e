"""Search for a pose to rest in, on a separate thread beside the control cycle.

The search needs the robot's MJCF model and MuJoCo; without them no pose is proposed.
"""

from __future__ import annotations

from threading import Thread

import numpy as np

from waldo import registry
from waldo.errors import WaldoError
from waldo.robots.description import Robot
from waldo.typing import Array

MIN_HEADROOM_K = 1.0
"""Lower bound of the headroom by which a motor's heat is weighted [K]."""


class RestPoseAdvisor:
    """Searches for the pose near the present one that needs the least heat to hold, once per request."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._thread: Thread | None = None
        self._message = ""

    def request(self, position: Array, headroom_k: Array) -> None:
        """Start a search unless one is running or the robot has no model.

        Args:
            position: Joint positions (joints,) [rad or m].
            headroom_k: Margins of the windings below their limits (joints,) [K]; NaN for unknown. The heat of a motor
                is weighted by the inverse; an unknown headroom gets the mean weight.
        """
        if not self._robot.mjcf or (self._thread is not None and self._thread.is_alive()):
            return
        weights = 1 / np.maximum(headroom_k, MIN_HEADROOM_K)
        known = np.isfinite(weights)
        weights = np.where(known, weights, weights[known].mean() if known.any() else 1.0)
        self._thread = Thread(target=self._search, args=(position.copy(), weights), name="rest pose", daemon=True)
        self._thread.start()

    def _search(self, position: Array, weights: Array) -> None:
        try:
            search = registry.load("waldo.rest_poses", "mujoco", "rest pose search")
            self._message = search(self._robot, position, weights).describe(self._robot.joint_names)
        except ImportError:
            return
        except (WaldoError, ValueError) as error:
            self._message = f"no rest pose found: {error}"

    def pop_message(self) -> str:
        """Return the result of the last search as text, once; empty if there is none."""
        message, self._message = self._message, ""
        return message

    def join(self) -> None:
        """Wait until a running search has finished."""
        if self._thread is not None:
            self._thread.join()
