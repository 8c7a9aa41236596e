"""A policy server whose policy repeats the state, in a thread or as a program that prints its port.

It is importable, so that a test can end the program at once, as a failure of its machine would.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.train.serving.inputs import policy_inputs
from waldo.train.serving.server import PolicyServer

STATE = "observation.state"
FRONT = "observation.images.front"

INPUTS = policy_inputs({STATE: (3,), FRONT: (3, 6, 8)})
"""Three joints and a camera of 8x6."""

METADATA = {"policy": "repeat", "action_dim": 3, "images": {FRONT: [8, 6]}}
"""Sent to each client."""

ACTIONS = 4
"""Actions of a chunk."""

WAIT_S = 60.0
"""Time after which a test fails rather than waits [s]."""


def observation(number: float = 0.5, task: str = "") -> dict[str, Any]:
    """Return an observation whose state, and so whose actions, contain a number."""
    return {STATE: np.array([number, 0.0, -1.0], np.float32), FRONT: np.zeros((6, 8, 3), np.uint8), "task": task}


def chunk(number: float = 0.5) -> NDArray[np.float64]:
    """Return the actions that follow `observation(number)`."""
    return np.array([[number + step, 0.0, -1.0] for step in range(ACTIONS)])


class Repeat:
    """Repeats the state, with the number of the action added to the first joint.

    The task "raise" raises an error, "nan" makes an action NaN, "wait" waits until `resume` is set.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.waiting, self.resume = threading.Event(), threading.Event()

    def predict(self, observations: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        self.batches.append(len(observations))
        tasks = [one["task"] for one in observations]
        if "wait" in tasks:
            self.waiting.set()
            assert self.resume.wait(WAIT_S)
        if "raise" in tasks:
            raise RuntimeError("the policy failed")
        chunks = np.stack([chunk(float(one[STATE][0])) for one in observations])
        for one, task in zip(chunks, tasks, strict=True):
            if task == "nan":
                one[2, 1] = np.nan
        return chunks


@dataclass(kw_only=True)
class Serving:
    """A server that listens."""

    server: PolicyServer
    policy: Repeat
    port: int
    scheme: str

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextmanager
def serving(*, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[Serving]:
    """Serve `Repeat` in a thread; options are those of PolicyServer."""
    policy = Repeat()
    server = PolicyServer(policy, INPUTS, METADATA, **options)
    with listening(server, tls) as port:
        try:
            yield Serving(server=server, policy=policy, port=port, scheme="ws" if tls is None else "wss")
        finally:
            policy.resume.set()


@contextmanager
def listening(server: PolicyServer, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a server in a thread with a loop of its own; yield its port."""
    started: queue.SimpleQueue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.SimpleQueue()

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await server.run("127.0.0.1", 0, stop, tls=tls, on_listening=lambda port: started.put((port, loop, stop)))

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="policy server")
    thread.start()
    port, loop, stop = started.get(timeout=WAIT_S)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
        assert not thread.is_alive()


def main() -> None:
    """Serve until the process ends."""

    def show(port: int) -> None:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()

    server = PolicyServer(Repeat(), INPUTS, METADATA)
    asyncio.run(server.run("127.0.0.1", 0, asyncio.Event(), on_listening=show))


if __name__ == "__main__":
    main()
