"""Inference in simulated time: the simulation waits for the policy, and the answer takes the time that is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from waldo.train.runner.inference import Answer, Client, Question, ask_client


class LockstepInference:
    """Answers a question after a latency in simulated time; an `Asker` of the policy loop."""

    error = ""
    """A failure is the answer to a question; the robot holds, and the next question follows."""

    def __init__(self, client: Client, now_ns: Callable[[], int], latency_s: float | None = None) -> None:
        """Initialize without a question.

        Args:
            client: A connection to the policy server.
            now_ns: Returns the simulated time [ns].
            latency_s: Time from the observation to its actions [s]; None: the time that the inference took here.
        """
        self._client, self._now_ns, self._latency_s = client, now_ns, latency_s
        self._due: tuple[int, Answer] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a question waits for its answer."""
        return self._due is not None

    def ask(self, question: Question) -> None:
        """Infer at once; the answer is withheld until its time."""
        answer = ask_client(self._client, question)
        if self._latency_s is not None:
            answer = replace(answer, seconds=self._latency_s)
        self._due = self._now_ns() + round(answer.seconds * 1e9), answer

    def answer(self) -> Answer | None:
        """Return the answer once its time has come."""
        if self._due is None or self._now_ns() < self._due[0]:
            return None
        (_, answer), self._due = self._due, None
        return answer
