"""The same work for many episodes: in this process, in several processes, or on a Ray cluster.

A Ray cluster must see the same folders under the same paths.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from waldo.errors import InvalidValueError

RAY_OFF = ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV")
"""Settings of Ray that are off by default: sending usage statistics; and, after `uv run`, copying the working directory
to every worker and installing an environment there, which takes minutes and a network."""

QUEUED_PER_WORKER = 2
"""Items per worker that are submitted before their results are consumed; limits the results in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Where work is executed."""

    workers: int = 1
    """Number of processes; 0: one per core."""
    ray: str | None = None
    """Address of a Ray cluster (`auto`, `ray://host:10001`, or `local` for one on this machine); None: no Ray."""

    def __post_init__(self) -> None:
        """Check the number of workers."""
        if self.workers < 0:
            raise InvalidValueError("workers", self.workers, "0 (one per core) or more")


def run[Item, Result](
    work: Callable[[Item], Result], items: Sequence[Item], jobs: Jobs
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result, in the order of the items; an exception in a worker is raised here.

    Args:
        work: The function to call with each item. It and its results must be picklable if there are several workers.
        items: The items.
        jobs: Where to execute the work.
    """
    if jobs.ray is not None:
        yield from _run_on_ray(work, items, jobs.ray)
        return
    workers = min(len(items), jobs.workers or len(os.sched_getaffinity(0)))
    if workers < 2:
        yield from ((item, work(item)) for item in items)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:

        def submit(item: Item) -> Future[Result]:
            return pool.submit(work, item)

        try:
            yield from _in_order(items, submit, lambda future: future.result(), QUEUED_PER_WORKER * workers)
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order[Item, Handle, Result](
    items: Sequence[Item], submit: Callable[[Item], Handle], result: Callable[[Handle], Result], queued: int
) -> Iterator[tuple[Item, Result]]:
    """Submit items, at most `queued` ahead of the result that is consumed, and yield the results in order."""
    waiting: deque[tuple[Item, Handle]] = deque()
    for item in items:
        waiting.append((item, submit(item)))
        if len(waiting) > queued:
            done, handle = waiting.popleft()
            yield done, result(handle)
    while waiting:
        done, handle = waiting.popleft()
        yield done, result(handle)


def import_ray() -> Any:
    """Return the module `ray`, with settings that the user's environment variables override."""
    for name in RAY_OFF:
        os.environ.setdefault(name, "0")
    import ray

    return ray


def _run_on_ray(work: Callable[[Any], Any], items: Sequence[Any], address: str) -> Iterator[tuple[Any, Any]]:
    """Execute the work on a Ray cluster; one that this process is already connected to is used."""
    ray = import_ray()
    connected = ray.is_initialized()
    if not connected:
        options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
        ray.init(address=None if address == "local" else address, **options)
    try:
        task = ray.remote(work if hasattr(work, "__name__") else lambda item: work(item))
        queued = max(4, QUEUED_PER_WORKER * int(ray.cluster_resources().get("CPU", 1)))
        yield from _in_order(items, task.remote, ray.get, queued)
    finally:
        if not connected:
            ray.shutdown()
