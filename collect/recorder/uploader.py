"""Saved episodes to an object store, behind the recording and never in its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from waldo.datasets.dataset import Dataset
from waldo.datasets.store_path import ObjectPath
from waldo.datasets.transfer import push
from waldo.errors import WaldoError

RETRY_S = 30.0
"""Pause after a failure before the next try [s]."""


class Uploader:
    """A thread that pushes a dataset's episodes as they are sealed; what fails is tried again and kept here anyway."""

    def __init__(
        self, dataset: Dataset, target: ObjectPath, tell: Callable[[str], None], *, retry_s: float = RETRY_S
    ) -> None:
        """Take the dataset, where to, and who hears of trouble and of its end; begins with what is missing there."""
        self.dataset, self.target = dataset, target
        self._tell, self._retry_s = tell, retry_s
        self._wake, self._stop = threading.Event(), threading.Event()
        self._failing = ""
        dataset.on_finalized = lambda _: self._wake.set()
        self._wake.set()
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Push what is left, for so long at most [s]; return whether everything is there."""
        deadline = monotonic() + timeout_s
        self._stop.set()
        self._wake.set()
        self._thread.join(max(0.0, deadline - monotonic()))
        done = not self._thread.is_alive() and not self._failing
        if not done:
            self._tell(f"not everything is uploaded yet; go on with: waldo push {self.dataset.path} {self.target}")
        return done

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            # Read before the push: an episode sealed meanwhile, or a stop, means another round.
            stopping = self._stop.is_set()
            succeeded = self._push()
            if stopping:
                return
            if not succeeded and not self._stop.wait(self._retry_s):
                self._wake.set()

    def _push(self) -> bool:
        """Push what is missing; a failure is told once, and so is its end."""
        reader = Dataset.open(self.dataset.path)
        try:
            push(reader, self.target, reader.indices)
        except (WaldoError, OSError) as error:
            if not self._failing:
                self._tell(f"cannot upload: {error}; recording goes on, the episodes are kept here")
            self._failing = str(error)
            return False
        if self._failing:
            self._tell("uploading again")
        self._failing = ""
        return True
