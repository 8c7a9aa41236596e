"""Actions that move the targets of the joints become position targets at the control rate."""

import numpy as np

from waldo.train.policies.increments import Increments

POSITION = np.array([[0.0, 1.0], [0.5, -0.5]])
BOTH = np.arange(2)


def test_the_targets_of_an_action_lie_on_a_line_from_where_the_joints_are() -> None:
    targets = Increments(0.2, 2).targets(np.array([[1.0, -0.5], [0.0, 3.0]]), BOTH, POSITION)
    np.testing.assert_allclose(targets, [[[0.1, 0.95], [0.2, 0.9]], [[0.5, -0.4], [0.5, -0.3]]])


def test_the_next_action_starts_from_the_last_target_rather_than_the_joints() -> None:
    increments = Increments(0.2, 1)
    increments.targets(np.ones((2, 2)), BOTH, POSITION)
    sagged = POSITION - 0.1
    np.testing.assert_allclose(increments.targets(np.ones((2, 2)), BOTH, sagged)[:, -1], POSITION + 0.4)


def test_worlds_that_were_reset_start_from_their_joints() -> None:
    increments = Increments(0.2, 1)
    increments.targets(np.ones((2, 2)), BOTH, POSITION)
    increments.reset(np.array([1]))
    found = increments.targets(np.ones((2, 2)), BOTH, np.zeros((2, 2)))[:, -1]
    np.testing.assert_allclose(found, [POSITION[0] + 0.4, [0.2, 0.2]])
    increments.reset()
    np.testing.assert_allclose(increments.targets(np.ones((2, 2)), BOTH, np.zeros((2, 2)))[:, -1], 0.2)


def test_worlds_act_at_different_times() -> None:
    increments = Increments(0.2, 1)
    increments.targets(np.ones((2, 2)), BOTH, POSITION)
    only = increments.targets(np.ones((1, 2)), np.array([1]), POSITION)
    np.testing.assert_allclose(only[:, -1], POSITION[1:] + 0.4)
