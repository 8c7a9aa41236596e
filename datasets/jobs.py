"""The same work for many episodes: here, on several processes, or on a Ray cluster that sees the same folders."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from waldo.errors import InvalidValueError

AHEAD = 2
"""Results that each worker may have ready before they are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Where the work is done."""

    workers: int = 1
    """Processes that work side by side; 0: as many as there are cores."""
    ray: str | None = None
    """Address of a Ray cluster ("auto", "ray://host:10001", or "local" for one on this machine); None: no Ray."""

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if self.workers < 0:
            raise InvalidValueError("workers", self.workers, "0 (one for each core) or more")


def run[Item, Result](
    work: Callable[[Item], Result], items: Sequence[Item], jobs: Jobs
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result, in the order of the items; an exception in a worker is raised here.

    `work` and what it returns must be picklable where there are several workers.
    """
    if jobs.ray is not None:
        yield from _on_ray(work, items, jobs)
        return
    workers = min(len(items), jobs.workers or len(os.sched_getaffinity(0)))
    if workers < 2:
        yield from ((item, work(item)) for item in items)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > AHEAD * workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _on_ray(work: Callable[[Any], Any], items: Sequence[Any], jobs: Jobs) -> Iterator[tuple[Any, Any]]:
    """Spread the work over a Ray cluster, a few tasks ahead of what is taken."""
    import ray

    fresh = not ray.is_initialized()
    if fresh:
        address = None if jobs.ray == "local" else jobs.ray
        ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        task = ray.remote(work if hasattr(work, "__name__") else lambda item: work(item))
        ahead = max(4, AHEAD * int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[tuple[Any, Any]] = deque()
        for item in items:
            waiting.append((item, task.remote(item)))
            if len(waiting) > ahead:
                done, reference = waiting.popleft()
                yield done, ray.get(reference)
        while waiting:
            done, reference = waiting.popleft()
            yield done, ray.get(reference)
    finally:
        if fresh:
            ray.shutdown()
