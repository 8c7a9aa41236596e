"""Where should a robot that needs rest go? Worked out on a thread of its own, beside the control cycle.

The search needs the robot's MJCF model and MuJoCo; without them there is no advice, and nothing else is missing.
"""

from __future__ import annotations

from threading import Thread

import numpy as np

from waldo import registry
from waldo.errors import WaldoError
from waldo.robots.description import Robot
from waldo.typing import Array

LEAST_ROOM_K = 1.0
"""Even a motor at its limit counts no more than if it had so much room [K]."""


class RestPoseAdvisor:
    """Searches the pose near the present one that costs the least heat to hold, once each time that it is asked."""

    def __init__(self, robot: Robot) -> None:
        """Take the robot."""
        self._robot = robot
        self._thread: Thread | None = None
        self._text = ""

    def request(self, position: Array, headroom_k: Array) -> None:
        """Begin to search from joint positions (joints,); a motor with less room to its limit [K] counts for more.

        While a search runs, another is not begun. Of a motor without a known limit the heat counts as the others' mean.
        """
        if not self._robot.mjcf or (self._thread is not None and self._thread.is_alive()):
            return
        weights = 1 / np.maximum(headroom_k, LEAST_ROOM_K)
        known = np.isfinite(weights)
        weights = np.where(known, weights, weights[known].mean() if known.any() else 1.0)
        self._thread = Thread(target=self._search, args=(position.copy(), weights), name="rest pose", daemon=True)
        self._thread.start()

    def _search(self, position: Array, weights: Array) -> None:
        try:
            search = registry.load("waldo.rest_poses", "mujoco", "rest pose search")
            self._text = search(self._robot, position, weights).describe(self._robot.joint_names)
        except ImportError:
            return
        except (WaldoError, ValueError) as error:
            self._text = f"no pose to rest in can be found: {error}"

    def pop_message(self) -> str:
        """Return what was found, in words and once; empty before."""
        text, self._text = self._text, ""
        return text

    def join(self) -> None:
        """Wait until the search has ended, if one runs."""
        if self._thread is not None:
            self._thread.join()
