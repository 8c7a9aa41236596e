"""Inference on a thread of its own, for several clients at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from waldo.errors import WaldoError

MAX_BATCH = 64
"""Most observations of one forward pass."""


LARGEST = float(np.finfo(np.float32).max)
"""Largest action; answers are sent as float32, in which a larger one would be infinite."""


class ChunkPolicy(Protocol):
    """A policy that predicts a chunk of actions from each observation."""

    def predict(self, observations: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return the actions that follow each observation, (observations, actions, joints)."""
        ...


class PredictionError(WaldoError):
    """Actions that must not reach a robot."""

    exit_code = 3


@dataclass(slots=True)
class _Request:
    observation: Mapping[str, Any]
    answer: Future[NDArray[np.float64]]


class Batcher:
    """Answers observations in the order of their arrival; those that arrive during a forward pass share the next."""

    def __init__(self, policy: ChunkPolicy, *, max_batch: int = MAX_BATCH) -> None:
        """Start the thread."""
        self._policy, self._max_batch = policy, max_batch
        self._requests: queue.SimpleQueue[_Request | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, observation: Mapping[str, Any]) -> Future[NDArray[np.float64]]:
        """Return the future actions (actions, joints) for an observation; PredictionError if they are not finite."""
        request = _Request(observation, Future())
        self._requests.put(request)
        return request.answer

    def reset(self) -> None:
        """Let a policy with a history forget it, after the requests that wait."""
        self._requests.put(self._forget)

    def _forget(self) -> None:
        reset = getattr(self._policy, "reset", None)
        if reset is not None:
            reset()

    def close(self) -> None:
        """End the thread after the requests that wait."""
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._requests.get()) is not None:
            following: _Request | Callable[[], None] | None = first
            requests: list[_Request] = []
            while isinstance(following, _Request):
                requests.append(following)
                if len(requests) == self._max_batch or self._requests.empty():
                    break
                following = self._requests.get()
            self._answer([one for one in requests if one.answer.set_running_or_notify_cancel()])
            if following is None:
                return
            if not isinstance(following, _Request):
                following()

    def _answer(self, requests: Sequence[_Request]) -> None:
        if not requests:
            return
        try:
            chunks = np.asarray(self._policy.predict([request.observation for request in requests]), dtype=np.float64)
            if chunks.ndim != 3 or len(chunks) != len(requests):
                expected = f"({len(requests)}, actions, joints)"
                raise PredictionError(f"the policy returned actions of shape {chunks.shape}, expected {expected}")
        except Exception as error:  # whatever a policy raises is the answer to its clients
            for request in requests:
                request.answer.set_exception(error)
            return
        for request, actions in zip(requests, chunks, strict=True):
            finite = np.abs(actions) <= LARGEST
            if finite.all():
                request.answer.set_result(actions)
            else:
                bad = int((~finite).any(axis=1).argmax())
                request.answer.set_exception(PredictionError(f"action {bad} of the policy is not finite"))
