"""Upload of saved episodes to an object store in the background, without blocking the recording."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from waldo.datasets.dataset import Dataset
from waldo.datasets.storage.store_path import ObjectPath
from waldo.datasets.storage.transfer import push
from waldo.errors import WaldoError

RETRY_S = 30.0
"""Pause between a failure and the next attempt [s]."""


class Uploader:
    """A thread that pushes a dataset's episodes as they are finalized, and retries after failures."""

    def __init__(
        self, dataset: Dataset, target: ObjectPath, notify: Callable[[str], None], *, retry_s: float = RETRY_S
    ) -> None:
        """Start the thread, which first uploads the episodes that the target lacks.

        Args:
            dataset: The dataset that is being recorded.
            target: Address in an object store.
            notify: Called with a text when uploading fails and when it resumes.
            retry_s: Pause between a failure and the next attempt [s].
        """
        self.dataset, self.target = dataset, target
        self._notify, self._retry_s = notify, retry_s
        self._wake, self._stop = threading.Event(), threading.Event()
        self._failure = ""
        dataset.on_finalized = lambda _: self._wake.set()
        self._wake.set()
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Upload the remaining episodes; return False if that failed or took longer than `timeout_s` [s]."""
        deadline = monotonic() + timeout_s
        self._stop.set()
        self._wake.set()
        self._thread.join(max(0.0, deadline - monotonic()))
        done = not self._thread.is_alive() and not self._failure
        if not done:
            self._notify(f"upload incomplete; continue with: waldo push {self.dataset.path} {self.target}")
        return done

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            # Read before the push: an episode finalized meanwhile, or a stop, requires another round.
            stopping = self._stop.is_set()
            succeeded = self._push()
            if stopping:
                return
            if not succeeded and not self._stop.wait(self._retry_s):
                self._wake.set()

    def _push(self) -> bool:
        """Push the missing episodes; a failure is reported once, and so is the recovery."""
        reader = Dataset.open(self.dataset.path)
        try:
            push(reader, self.target, reader.indices)
        except (WaldoError, OSError) as error:
            if not self._failure:
                self._notify(f"cannot upload: {error}; recording continues, episodes stay on this machine")
            self._failure = str(error)
            return False
        if self._failure:
            self._notify("upload resumed")
        self._failure = ""
        return True
