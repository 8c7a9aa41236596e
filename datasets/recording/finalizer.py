"""Finalizing saved episodes one after another in the background, while the next one is being recorded."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

from waldo.errors import WaldoError

REPORT_S = 1.0
"""Interval between two reports of the remaining work [s]."""


class NotFinalizedError(WaldoError):
    """A saved episode could not be finalized; its journal is complete and `waldo recover` finalizes it."""

    exit_code = 3

    def __init__(self, error: BaseException) -> None:
        """Build the message from the error that occurred."""
        super().__init__(f"a saved episode could not be finalized: {error}; free disk space, then run waldo recover")


class Finalizer:
    """A thread that finalizes journals in order. A failed one keeps its journal; the error is raised later."""

    def __init__(self, finalize: Callable[[Path, Path], object]) -> None:
        """Create the finalizer; `finalize` converts one journal into its destination."""
        self._finalize = finalize
        self._queue: queue.Queue[tuple[Path, Path]] = queue.Queue()
        self._errors: list[BaseException] = []
        self._thread: threading.Thread | None = None

    def add(self, journal: Path, destination: Path) -> None:
        """Finalize a journal after those that were added before."""
        if self._thread is None:
            # A daemon: a process that must exit does not wait, and the journal is recovered at the next start.
            self._thread = threading.Thread(target=self._run, name="finalize", daemon=True)
            self._thread.start()
        self._queue.put((journal, destination))

    @property
    def pending(self) -> int:
        """Number of journals that are not finalized yet."""
        return self._queue.unfinished_tasks

    def wait(self, report: Callable[[int], None] | None = None) -> None:
        """Wait until all journals are finalized.

        Args:
            report: Called every `REPORT_S` with the number of journals that remain.

        Raises:
            NotFinalizedError: If one could not be finalized.
        """
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks:
                if not self._queue.all_tasks_done.wait(REPORT_S) and report is not None:
                    report(self._queue.unfinished_tasks)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise NotFinalizedError if a journal could not be finalized since the last call."""
        if self._errors:
            error, self._errors = self._errors[0], []
            raise NotFinalizedError(error) from error

    def _run(self) -> None:
        while True:
            journal, destination = self._queue.get()
            try:
                self._finalize(journal, destination)
            except (OSError, WaldoError, ValueError) as error:
                self._errors.append(error)
            finally:
                self._queue.task_done()
