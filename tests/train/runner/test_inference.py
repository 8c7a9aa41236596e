"""Inference on a thread of its own: errors become answers, and a closed connection is opened again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from waldo.errors import WaldoError
from waldo.train.runner import inference as module
from waldo.train.runner.inference import Answer, Inference, Question
from waldo.train.runner.robot_policy import ContractError
from waldo.train.serving.client import ServerError


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class FakeClient:
    """A connection whose answers are the observation's number in every action."""

    def __init__(self, policy: str = "toy") -> None:
        self.metadata: dict[str, Any] = {"policy": policy}
        self.is_open = True
        self.asked: list[float] = []
        self.closed = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.failure: Exception | None = None

    def infer(self, observation: Mapping[str, Any]) -> np.ndarray:
        self.asked.append(observation["value"])
        assert self.go_on.wait(60)
        if self.failure is not None:
            raise self.failure
        return np.full((3, 2), observation["value"])

    def close(self) -> None:
        self.is_open = False
        self.closed += 1
        self.go_on.set()


class Bench:
    """An inference whose reconnections the test controls."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.next: Callable[[], FakeClient] = FakeClient
        self.connections: list[FakeClient] = []
        self.inference = Inference(self.client, self._connect, self._check)

    def _connect(self) -> FakeClient:
        self.connections.append(self.next())
        return self.connections[-1]

    def _check(self, metadata: Mapping[str, Any]) -> None:
        if metadata != self.client.metadata:
            raise ContractError(metadata["policy"], ["another policy"])

    def ask(self, number: int, value: float = 0.5) -> None:
        self.inference.ask(Question(number=number, build=lambda: {"value": value}))

    def answer(self) -> Answer:
        """Return the next answer once it has arrived."""
        found: list[Answer] = []

        def take() -> bool:
            if (answer := self.inference.answer()) is not None:
                found.append(answer)
            return bool(found)

        until(take)
        return found[0]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "RECONNECT_S", 0.001)
    monkeypatch.setattr(module, "POLL_S", 0.001)
    bench = Bench()
    yield bench
    bench.inference.close()
    assert not bench.inference._thread.is_alive()


def test_an_answer_repeats_the_number_of_its_question(bench: Bench) -> None:
    assert bench.inference.answer() is None
    bench.ask(7)
    answer = bench.answer()
    assert (answer.number, answer.error) == (7, "")
    assert answer.seconds >= 0
    np.testing.assert_array_equal(answer.actions, np.full((3, 2), 0.5))
    assert bench.inference.answer() is None


def test_questions_are_answered_in_their_order(bench: Bench) -> None:
    for number in range(5):
        bench.ask(number, number / 10)
    answers = [bench.answer() for _ in range(5)]
    assert [answer.number for answer in answers] == [0, 1, 2, 3, 4]
    assert bench.client.asked == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_neither_asking_nor_looking_for_an_answer_waits_for_the_server(bench: Bench) -> None:
    bench.client.go_on.clear()
    assert not bench.inference.is_busy
    bench.ask(1)
    until(lambda: bench.client.asked)
    assert bench.inference.is_busy
    assert bench.inference.answer() is None
    bench.client.go_on.set()
    assert bench.answer().number == 1
    assert not bench.inference.is_busy


def test_it_is_busy_until_the_answer_is_taken(bench: Bench) -> None:
    bench.ask(1)
    until(lambda: not bench.inference._answers.empty())
    assert bench.inference.is_busy
    assert bench.inference.answer() is not None
    assert not bench.inference.is_busy


def test_an_observation_is_built_on_the_thread_of_the_inference(bench: Bench) -> None:
    threads: list[str] = []

    def build() -> dict[str, float]:
        threads.append(threading.current_thread().name)
        return {"value": 0.0}

    bench.inference.ask(Question(number=1, build=build))
    bench.answer()
    assert threads == ["policy client"]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (ServerError("ws://gpu:8000: the actions are not finite"), "ws://gpu:8000: the actions are not finite"),
        (ZeroDivisionError("of a policy"), "ZeroDivisionError: of a policy"),
    ],
)
def test_an_error_of_the_server_is_an_answer(bench: Bench, failure: Exception, error: str) -> None:
    bench.client.failure = failure
    bench.ask(1)
    answer = bench.answer()
    assert (answer.number, answer.actions, answer.error) == (1, None, error)
    bench.client.failure = None
    bench.ask(2)
    assert bench.answer().error == ""
    assert not bench.connections


def test_an_observation_that_cannot_be_built_does_not_end_the_thread(bench: Bench) -> None:
    def fail() -> dict[str, Any]:
        raise ValueError("cannot decode the image")

    bench.inference.ask(Question(number=1, build=fail))
    answer = bench.answer()
    assert (answer.actions, answer.error) == (None, "ValueError: cannot decode the image")
    bench.ask(2)
    assert bench.answer().error == ""


def test_a_closed_connection_is_an_error_until_it_is_opened_again(bench: Bench) -> None:
    connect = threading.Event()

    def wait() -> FakeClient:
        assert connect.wait(60)
        return FakeClient()

    bench.next = wait
    assert bench.inference.error == ""
    bench.client.is_open = False
    until(lambda: bench.inference.error)
    assert bench.inference.error == "the connection to the policy server was closed"
    bench.ask(1)
    connect.set()
    until(lambda: not bench.inference.error)
    assert bench.answer().error == ""
    assert (bench.client.asked, bench.connections[0].asked) == ([], [0.5])


def test_a_server_that_cannot_be_reached_is_tried_again(bench: Bench) -> None:
    attempts: list[str] = []
    third, connect = threading.Event(), threading.Event()

    def fail_twice() -> FakeClient:
        attempts.append(bench.inference.error)
        if len(attempts) < 3:
            raise ServerError(f"attempt {len(attempts)} failed")
        third.set()
        assert connect.wait(60)
        return FakeClient()

    bench.next = fail_twice
    bench.client.is_open = False
    assert third.wait(60)
    assert attempts == ["the connection to the policy server was closed", "attempt 1 failed", "attempt 2 failed"]
    assert bench.inference.error == "attempt 2 failed"
    connect.set()
    until(lambda: not bench.inference.error)
    bench.ask(1)
    assert bench.answer().error == ""


def test_a_server_that_came_back_with_another_policy_is_refused(bench: Bench) -> None:
    bench.next = lambda: FakeClient("other")
    bench.client.is_open = False
    until(lambda: bench.inference.error)
    bench.ask(1)
    until(lambda: len(bench.connections) > 3)
    expected = "other does not fit the robot, which is not moved:\n  another policy"
    assert bench.inference.error == expected
    assert bench.inference.answer() is None
    bench.next = FakeClient
    until(lambda: not bench.inference.error)
    assert bench.answer().error == ""
    refused = [client for client in bench.connections if client.metadata["policy"] == "other"]
    assert [client.asked for client in refused] == [[]] * len(refused)
    # Otherwise each attempt would keep one of the server's connections.
    assert {client.closed for client in refused} == {1}


def test_closing_ends_an_inference_that_waits_for_its_answer() -> None:
    bench = Bench()
    bench.client.go_on.clear()
    bench.ask(1)
    until(lambda: bench.client.asked)
    bench.inference.close()
    assert not bench.inference._thread.is_alive()
    assert bench.client.closed


def test_closing_ends_an_inference_that_waits_to_connect_again() -> None:
    bench = Bench()
    bench.client.is_open = False
    until(lambda: bench.inference.error)
    bench.inference.close()
    assert not bench.inference._thread.is_alive()
    assert bench.connections == []


def test_a_connection_that_is_opened_while_the_inference_is_closed_is_closed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RECONNECT_S", 0.001)
    bench = Bench()
    connecting, ending = threading.Event(), bench.inference._ending

    def wait() -> FakeClient:
        connecting.set()
        assert ending.wait(60)
        return FakeClient()

    bench.next = wait
    bench.client.is_open = False
    assert connecting.wait(60)
    bench.inference.close()
    assert not bench.inference._thread.is_alive()
    assert [client.closed for client in bench.connections] == [1]


def test_a_client_that_cannot_be_closed_does_not_prevent_the_end() -> None:
    bench = Bench()

    def fail() -> None:
        raise WaldoError("the connection is broken")

    bench.client.close = fail  # type: ignore[method-assign]
    bench.inference.close()
    assert not bench.inference._thread.is_alive()
