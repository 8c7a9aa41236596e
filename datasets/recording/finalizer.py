"""Sealing saved episodes one after another in the background, while the next one is being recorded."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from waldo.errors import WaldoError


class Sealer:
    """A thread that seals journals in turn. What fails keeps its journal, and is said when somebody next asks."""

    def __init__(self, seal: Callable[[Path, Path], object]) -> None:
        """Take what seals one journal into its destination."""
        self._seal = seal
        self._queue: queue.Queue[tuple[Path, Path]] = queue.Queue()
        self._errors: list[BaseException] = []
        self._thread: threading.Thread | None = None

    def add(self, journal: Path, destination: Path) -> None:
        """Seal a journal when those before it are done."""
        if self._thread is None:
            # A daemon: a process that must end does not wait, and the journal is recovered at the next start.
            self._thread = threading.Thread(target=self._run, name="seal", daemon=True)
            self._thread.start()
        self._queue.put((journal, destination))

    def wait(self) -> None:
        """Wait until everything is sealed; raise what failed."""
        self._queue.join()
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what failed since the last time; the episode's journal is whole and `waldo recover` seals it."""
        if self._errors:
            error, self._errors = self._errors[0], []
            raise WaldoError(
                f"a saved episode is not sealed yet: {error}; free the disk, then waldo recover"
            ) from error

    def _run(self) -> None:
        while True:
            journal, destination = self._queue.get()
            try:
                self._seal(journal, destination)
            except (OSError, WaldoError, ValueError) as error:
                self._errors.append(error)
            finally:
                self._queue.task_done()
