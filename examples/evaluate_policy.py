"""Evaluate a policy of your own in simulation, with motor heat.

The policy here holds a pose, so it never lifts the cube; a real one returns targets that depend on the observation.

Usage: python examples/evaluate_policy.py
"""

from __future__ import annotations

import numpy as np

from waldo import EvalConfig, evaluate


class HoldPose:
    """Hold the first pose of each episode."""

    fps = 30.0
    image_keys = ()

    def __init__(self) -> None:
        """Start without a pose."""
        self._pose: np.ndarray | None = None

    def reset(self, which: np.ndarray | None = None) -> None:
        """Forget the pose."""
        self._pose = None

    def act(self, observation: dict) -> np.ndarray:
        """Return position targets, shape (worlds, joints) [rad]."""
        if self._pose is None:
            self._pose = np.array(observation["observation.state"], dtype=float)
        return self._pose


def main() -> None:
    """Evaluate four episodes."""
    result = evaluate(HoldPose(), EvalConfig(task="lift", episodes=4))
    print(f"{sum(result.success)} of {len(result.success)} succeeded")


if __name__ == "__main__":
    main()
