"""Gains of torque drives."""

from __future__ import annotations

import numpy as np
import pytest

from waldo.sim.mjcf.gains import torque_gains


def test_the_stiffness_is_bounded_by_effort_frequency_and_time_step() -> None:
    assert torque_gains(1.0, 87.0, 0.05, 0.002) == pytest.approx((1740.0, 2 * np.sqrt(1740.0)))
    stiffness, damping = torque_gains(0.001, 87.0, 0.1, 0.001)
    assert stiffness == pytest.approx(0.001 * (2 * np.pi * 20) ** 2)
    assert damping == pytest.approx(2 * 0.001 * 2 * np.pi * 20)
    assert torque_gains(1.0, np.inf, 0.1, 0.01)[0] == pytest.approx(100.0**2)
