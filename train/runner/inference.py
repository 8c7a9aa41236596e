"""Inference beside the control loop: one question at a time to a policy server, on a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from waldo.errors import WaldoError

RECONNECT_S = 1.0
"""Interval between two attempts to reach the server again [s]."""

POLL_S = 0.02
"""Interval at which an idle connection is checked [s]."""

CLOSED = "the connection to the policy server was closed"
"""Reason of a hold after the server has gone."""


class Client(Protocol):
    """A connection to a policy server; `PolicyClient` is one."""

    metadata: dict[str, Any]

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        ...

    def infer(self, observation: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the actions that follow an observation, (actions, joints); raises WaldoError without an answer."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An observation for the policy."""

    number: int
    """Number of the question; an answer repeats it."""
    build: Callable[[], Mapping[str, Any]]
    """Returns the observation; called on the thread of the inference, since it decodes images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a question."""

    number: int
    actions: NDArray[np.float64] | None
    """Shape (actions, joints); None if there is no answer."""
    error: str
    """Why there is none; empty otherwise."""
    seconds: float
    """Time from the question to the answer [s]."""


def ask_client(client: Client, question: Question) -> Answer:
    """Ask a question and wait for its answer; a failure is an answer too."""
    start = time.monotonic()
    actions, error = None, ""
    try:
        actions = client.infer(question.build())
    except WaldoError as failure:
        error = str(failure)
    except Exception as failure:  # an image that cannot be decoded must not end the loop
        error = f"{type(failure).__name__}: {failure}"
    return Answer(number=question.number, actions=actions, error=error, seconds=time.monotonic() - start)


class Inference:
    """Asks a policy server; after a failure it connects again, and checks that the server has the same policy."""

    def __init__(
        self, client: Client, connect: Callable[[], Client], check: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Start the thread.

        Args:
            client: A connection.
            connect: Returns a new connection; raises WaldoError while the server cannot be reached.
            check: Raises WaldoError unless the metadata of a new connection belong to the same policy.
        """
        self._client, self._connect, self._check = client, connect, check
        self._questions: queue.SimpleQueue[Question] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._error = ""
        self._ending = threading.Event()
        self._asked = self._answered = 0
        self._thread = threading.Thread(target=self._run, name="policy client", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        return self._asked > self._answered

    @property
    def error(self) -> str:
        """Why the server cannot be asked at present; empty while it can. A closed connection is noticed at once."""
        return self._error or ("" if self._client.is_open else CLOSED)

    def ask(self, question: Question) -> None:
        """Ask a question; only one may wait for its answer."""
        self._asked += 1
        self._questions.put(question)

    def answer(self) -> Answer | None:
        """Return the next answer; None if there is none yet."""
        with contextlib.suppress(queue.Empty):
            found = self._answers.get_nowait()
            self._answered += 1
            return found
        return None

    def close(self) -> None:
        """End the thread and the connection."""
        self._ending.set()
        self._close_client(self._client)
        self._thread.join(timeout=5)

    def _close_client(self, client: Client) -> None:
        with contextlib.suppress(WaldoError, OSError):
            client.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._client.is_open:
                self._error = self._error or CLOSED
                self._reconnect()
                continue
            try:
                question = self._questions.get(timeout=POLL_S)
            except queue.Empty:
                continue
            while not self._client.is_open and not self._ending.is_set():
                self._error = self._error or CLOSED
                self._reconnect()
            self._answers.put(ask_client(self._client, question))
        self._close_client(self._client)  # one that was opened while the thread was being ended

    def _reconnect(self) -> None:
        if self._ending.wait(RECONNECT_S):
            return
        try:
            client = self._connect()
        except WaldoError as failure:
            self._error = str(failure)
            return
        try:
            self._check(client.metadata)
        except WaldoError as failure:
            self._error = str(failure)
            self._close_client(client)
            return
        self._client, self._error = client, ""
