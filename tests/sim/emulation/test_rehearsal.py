import numpy as np

from waldo.robots.description import load_robot
from waldo.sim.emulation.rehearsal import SPEED_RAD_S, CalibrationHand

SO101 = load_robot("so101")
DT_S = 0.01


def test_the_hand_waits_in_the_middle_and_then_moves_every_joint_to_both_ends() -> None:
    centered = False
    hand = CalibrationHand(SO101, lambda: centered)
    middle = (SO101.lower + SO101.upper) / 2
    times = np.arange(0, 100, DT_S)
    before = np.array([hand(t) for t in times[:500]])
    np.testing.assert_array_equal(before, np.broadcast_to(middle, before.shape))
    centered = True
    tour = np.array([hand(t) for t in times[500:6000]])
    np.testing.assert_allclose(tour.min(axis=0), SO101.lower, atol=0.02)
    np.testing.assert_allclose(tour.max(axis=0), SO101.upper, atol=0.02)
    assert np.abs(np.diff(tour, axis=0)).max() <= SPEED_RAD_S * DT_S * (1 + 1e-9)
    # One joint after the other: an operator can follow it.
    moving = (np.abs(np.diff(tour, axis=0)) > 1e-9).sum(axis=1)
    assert np.median(moving) == 1
    # New calibration: back to the middle.
    centered = False
    after = [hand(t) for t in times[6000:6500]][-1]
    np.testing.assert_allclose(after, middle, atol=1e-9)
