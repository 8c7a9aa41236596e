"""Observations of several clients share a call of the policy, which runs on one thread."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from policy_server import WAIT_S, Repeat, chunk, observation

from waldo.train.serving.batcher import LARGEST, Batcher, PredictionError


class Fixed:
    """A policy with an answer of the test's."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self.answer = answer

    def predict(self, observations: Sequence[Mapping[str, Any]]) -> Any:
        return self.answer(len(observations))


@pytest.fixture
def policy() -> Repeat:
    return Repeat()


@pytest.fixture
def batcher(policy: Repeat) -> Iterator[Batcher]:
    batcher = Batcher(policy, max_batch=4)
    yield batcher
    policy.resume.set()
    batcher.close()


def block(batcher: Batcher, policy: Repeat) -> Any:
    """Submit an observation during whose call further ones wait."""
    answer = batcher.submit(observation(task="wait"))
    assert policy.waiting.wait(WAIT_S)
    return answer


def answers_of(answer: Callable[[int], Any]) -> tuple[Any, Any]:
    """Return the answers of a batcher with a policy of the test's to an observation, and to one thereafter."""
    fixed = Fixed(answer)
    batcher = Batcher(fixed)
    first = batcher.submit(observation())
    first.exception(WAIT_S)
    fixed.answer = lambda size: np.ones((size, 2, 3))
    second = batcher.submit(observation())
    second.exception(WAIT_S)
    batcher.close()
    return first, second


def test_an_observation_is_answered(batcher: Batcher) -> None:
    actions = batcher.submit(observation(7.0)).result(WAIT_S)
    assert actions.dtype == np.float64
    np.testing.assert_array_equal(actions, chunk(7.0))


def test_observations_that_wait_share_one_call_and_keep_their_order(batcher: Batcher, policy: Repeat) -> None:
    first = block(batcher, policy)
    others = [batcher.submit(observation(number)) for number in (1.0, 2.0, 3.0)]
    policy.resume.set()
    np.testing.assert_array_equal(first.result(WAIT_S), chunk())
    for number, other in zip((1.0, 2.0, 3.0), others, strict=True):
        np.testing.assert_array_equal(other.result(WAIT_S), chunk(number))
    assert policy.batches == [1, 3]


def test_a_call_has_a_limited_number_of_observations(batcher: Batcher, policy: Repeat) -> None:
    first = block(batcher, policy)
    others = [batcher.submit(observation(float(number))) for number in range(9)]
    policy.resume.set()
    first.result(WAIT_S)
    for number, other in enumerate(others):
        np.testing.assert_array_equal(other.result(WAIT_S), chunk(float(number)))
    assert policy.batches == [1, 4, 4, 1]


def test_the_policy_is_called_on_one_thread() -> None:
    threads = set()

    def answer(size: int) -> np.ndarray:
        threads.add(threading.current_thread())
        return np.zeros((size, 1, 1))

    batcher = Batcher(Fixed(answer))
    for _ in range(20):
        batcher.submit(observation()).result(WAIT_S)
    batcher.close()
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_an_error_reaches_every_caller_and_the_next_observation_is_answered(batcher: Batcher, policy: Repeat) -> None:
    first = block(batcher, policy)
    failing = [batcher.submit(observation(task=task)) for task in ("", "raise", "")]
    policy.resume.set()
    first.result(WAIT_S)
    for answer in failing:
        assert repr(answer.exception(WAIT_S)) == "RuntimeError('the policy failed')"
    np.testing.assert_array_equal(batcher.submit(observation(4.0)).result(WAIT_S), chunk(4.0))
    assert policy.batches == [1, 3, 1]


def test_an_action_that_is_not_finite_is_refused_and_others_of_the_call_are_not(
    batcher: Batcher, policy: Repeat
) -> None:
    first = block(batcher, policy)
    good, bad = batcher.submit(observation(1.0)), batcher.submit(observation(2.0, task="nan"))
    policy.resume.set()
    first.result(WAIT_S)
    np.testing.assert_array_equal(good.result(WAIT_S), chunk(1.0))
    with pytest.raises(PredictionError) as caught:
        bad.result(WAIT_S)
    assert str(caught.value) == "action 2 of the policy is not finite"
    assert policy.batches == [1, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e300])
def test_an_action_is_finite_in_float32(value: float) -> None:
    first, second = answers_of(lambda size: np.full((size, 2, 3), value))
    assert str(first.exception()) == "action 0 of the policy is not finite"
    assert second.exception() is None


def test_the_largest_float32_is_an_action() -> None:
    first, _ = answers_of(lambda size: np.full((size, 2, 3), -LARGEST))
    assert (first.result().astype(np.float32) == -np.finfo(np.float32).max).all()


@pytest.mark.parametrize("shape", [(2, 4, 3), (0, 4, 3), (1, 3), (), (1, 1, 4, 3)])
def test_actions_of_another_shape_are_refused_and_the_next_observation_is_answered(shape: tuple[int, ...]) -> None:
    first, second = answers_of(lambda size: np.zeros(shape))
    assert isinstance(first.exception(), PredictionError)
    assert str(first.exception()) == f"the policy returned actions of shape {shape}, expected (1, actions, joints)"
    np.testing.assert_array_equal(second.result(), np.ones((2, 3)))


@pytest.mark.parametrize("value", [None, "actions", [[[1.0], [1.0, 2.0]]], object()])
def test_an_answer_that_is_not_an_array_does_not_end_the_thread(value: object) -> None:
    first, second = answers_of(lambda size: value)
    assert first.exception() is not None
    np.testing.assert_array_equal(second.result(), np.ones((2, 3)))


def test_a_canceled_observation_is_not_predicted(batcher: Batcher, policy: Repeat) -> None:
    first = block(batcher, policy)
    canceled, other = batcher.submit(observation(1.0)), batcher.submit(observation(2.0))
    assert canceled.cancel()
    policy.resume.set()
    first.result(WAIT_S)
    np.testing.assert_array_equal(other.result(WAIT_S), chunk(2.0))
    assert policy.batches == [1, 1]


def test_a_call_of_canceled_observations_does_not_take_place(batcher: Batcher, policy: Repeat) -> None:
    first = block(batcher, policy)
    assert all(batcher.submit(observation()).cancel() for _ in range(2))
    policy.resume.set()
    first.result(WAIT_S)
    batcher.close()
    assert policy.batches == [1]


def test_an_observation_in_a_call_cannot_be_canceled(batcher: Batcher, policy: Repeat) -> None:
    first = block(batcher, policy)
    assert not first.cancel()
    policy.resume.set()
    np.testing.assert_array_equal(first.result(WAIT_S), chunk())


def test_closing_answers_the_observations_that_wait_and_ends_the_thread(policy: Repeat) -> None:
    batcher = Batcher(policy, max_batch=2)
    first = block(batcher, policy)
    others = [batcher.submit(observation(float(number))) for number in range(5)]
    policy.resume.set()
    batcher.close()
    assert first.done()
    for number, other in enumerate(others):
        assert other.done()
        np.testing.assert_array_equal(other.result(), chunk(float(number)))
    assert not batcher._thread.is_alive()
