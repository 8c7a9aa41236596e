"""Gains of the position control of a joint whose actuator of the model only exerts a torque."""

from __future__ import annotations

import numpy as np

FULL_EFFORT_RAD, FULL_EFFORT_M = 0.05, 0.005
"""Error at which the drive exerts its full effort [rad, m]."""
NATURAL_HZ = 20.0
"""Highest natural frequency of a joint [Hz]."""
STEP_RAD = 1.0
"""Largest phase of that oscillation in one step of the simulation [rad]; with implicit damping, 4 are stable."""


def torque_gains(inertia: float, effort: float, full_effort: float, step_s: float) -> tuple[float, float]:
    """Return the stiffness [N·m/rad or N/m] and the critical damping of a joint [N·m·s/rad or N·s/m].

    The drive exerts its full effort at an error of 0.05 rad. The position servos of MuJoCo Menagerie reach it at 0.006
    to 0.24 rad (Panda: 12 N·m at 2000 N·m/rad and 87 N·m at 4500; SO-101: 3.35 N·m at 17.8; Go1: 23.7 N·m at 100).
    The stiffness is bounded by a natural frequency of 20 Hz with the inertia that the joint moves, at which a link of
    0.1 m sags by 6 mrad under its own weight (g / l ω²), and by a frequency that the time step resolves. The damping
    ratio is 1. The form, stiffness from inertia and natural frequency, is that of mjlab's robots, which use 10 Hz with
    the rotor alone.

    Args:
        inertia: Inertia of all that the joint moves, with the other joints fixed [kg·m² or kg].
        effort: Largest torque or force [N·m or N]; inf if the model has no limit.
        full_effort: Error at which the drive exerts it [rad or m].
        step_s: Time step of the simulation [s].
    """
    frequency = min(2 * np.pi * NATURAL_HZ, STEP_RAD / step_s)
    stiffness = min(effort / full_effort, inertia * frequency**2)
    return stiffness, 2 * float(np.sqrt(stiffness * inertia))
