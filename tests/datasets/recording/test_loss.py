import numpy as np
import pytest

from waldo.datasets.recording.loss import LossCounter, gaps

CASES = [
    ([], 0),
    ([5], 0),
    ([1, 2, 3], 0),
    ([7, 8, 12], 3),
    ([1, 3, 5], 2),
    ([50, 51, 1, 2, 4], 1),  # the publisher was restarted
    ([-1, -1, -1], 0),
    ([3, -1, 9], 0),
]


@pytest.mark.parametrize(("sequence", "lost"), CASES)
def test_missing_numbers_are_lost_messages(sequence, lost):
    assert gaps(np.array(sequence, np.int64)).sum() == lost


@pytest.mark.parametrize(("sequence", "lost"), CASES)
def test_counting_message_by_message_agrees(sequence, lost):
    counter = LossCounter()
    assert sum(counter.add(number) for number in sequence) == lost
    assert counter.lost == lost


def test_gap_is_counted_at_the_message_after_it():
    assert gaps(np.array([1, 2, 6, 7])).tolist() == [0, 0, 3, 0]
