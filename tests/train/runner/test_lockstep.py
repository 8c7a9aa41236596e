"""Inference in simulated time: an answer takes the time that is set, however fast the machine is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from waldo.errors import WaldoError
from waldo.train.runner.inference import Question
from waldo.train.runner.lockstep import LockstepInference


class Client:
    """Answers with the observation's number."""

    metadata: dict[str, Any]
    is_open = True
    fails = False

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        if self.fails:
            raise WaldoError("no actions")
        return np.full((2, 1), observation["value"])

    def close(self) -> None:
        """Do nothing."""


def ask(inference: LockstepInference, number: int) -> None:
    inference.ask(Question(number=number, build=lambda: {"value": number}))


def test_an_answer_is_withheld_for_its_latency() -> None:
    clock = [1_000_000_000]
    inference = LockstepInference(Client(), lambda: clock[0], 0.05)
    ask(inference, 7)
    assert inference.is_busy
    assert inference.answer() is None
    clock[0] += 49_000_000
    assert inference.answer() is None
    clock[0] += 1_000_000
    answer = inference.answer()
    assert answer is not None
    assert (answer.number, answer.error, answer.seconds) == (7, "", 0.05)
    np.testing.assert_array_equal(answer.actions, np.full((2, 1), 7))
    assert not inference.is_busy
    assert inference.answer() is None


def test_without_a_latency_the_measured_time_counts() -> None:
    clock = [0]
    inference = LockstepInference(Client(), lambda: clock[0])
    ask(inference, 1)
    clock[0] = 60_000_000_000
    answer = inference.answer()
    assert answer is not None
    assert 0 < answer.seconds < 60


def test_an_error_is_an_answer() -> None:
    client = Client()
    client.fails = True
    inference = LockstepInference(client, lambda: 0, 0.0)
    ask(inference, 1)
    answer = inference.answer()
    assert answer is not None
    assert (answer.actions, answer.error) == (None, "no actions")
