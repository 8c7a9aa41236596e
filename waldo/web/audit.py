"""The audit log: who was paired, took control, requested or was refused, one JSON object a line.

It contains no token, PIN or cookie. The file is rotated by its size, and only this user can read it.
"""

from __future__ import annotations

import datetime
import io
import json
import logging
import os
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from waldo.errors import FileError
from waldo.web.folders import private_folder
from waldo.web.rate_limit import RateLimit
from waldo.web.roles import Visitor

MAX_BYTES = 5_000_000
"""Size at which a file is rotated [bytes]."""
FILES = 5
"""Number of older files that are kept."""
REFUSALS_HZ, REFUSALS_BURST = 2.0, 200
"""Rate of refusals that are logged [1/s], and how many may come at once: a flood must not rotate the log away."""
MAX_DETAIL = 200
"""Longest text of an entry [characters]."""


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> io.TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return io.TextIOWrapper(io.FileIO(descriptor, "a"), encoding="utf-8", write_through=True)


class Audit:
    """Writes the log; may be called from any thread."""

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Open the log.

        Args:
            path: The file; None to log nothing.
            clock: Returns the time since the epoch [s].

        Raises:
            FileError: If the file cannot be written.
        """
        self._clock = clock
        self._refusals = RateLimit(REFUSALS_HZ, REFUSALS_BURST, clock=clock)
        self._omitted = 0
        # Not in the tree of the process's loggers: nothing else can write to it, or send it elsewhere.
        self._logger = logging.Logger("waldo.audit", logging.INFO)
        if path is not None:
            private_folder(path.parent)
            try:
                handler = _PrivateFile(path, maxBytes=MAX_BYTES, backupCount=FILES, encoding="utf-8")
            except OSError as error:
                raise FileError(path, f"cannot be written ({error.strerror})", "pass --audit-log PATH") from error
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._logger.addHandler(handler)
        else:
            self._logger.addHandler(logging.NullHandler())

    def record(self, event: str, visitor: Visitor, **facts: object) -> None:
        """Write an entry.

        Args:
            event: Short name of the event: "paired", "request", "control", "refused", ...
            visitor: Who caused it.
            **facts: Further facts, without secrets.
        """
        stamp = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        entry: dict[str, object] = {"time": stamp.isoformat(timespec="milliseconds"), "event": event}
        entry |= {"address": visitor.address, "name": visitor.name, "role": visitor.role.word}
        if visitor.browser:
            entry["browser"] = visitor.browser
        if self._omitted:
            entry["omitted"], self._omitted = self._omitted, 0
        entry |= {key: one[:MAX_DETAIL] if isinstance(one, str) else one for key, one in facts.items()}
        self._logger.info(json.dumps(entry))

    def refuse(self, reason: str, *, visitor: Visitor | None = None, address: str = "", path: str = "") -> None:
        """Write that something was refused; further ones of a flood are only counted."""
        if not self._refusals.allow():
            self._omitted += 1
            return
        if visitor is None:
            stamp = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
            entry = {"time": stamp.isoformat(timespec="milliseconds"), "event": "refused", "address": address}
            entry |= {"path": path[:MAX_DETAIL], "reason": reason[:MAX_DETAIL]}
            self._logger.info(json.dumps(entry))
        else:
            self.record("refused", visitor, path=path, reason=reason)

    def close(self) -> None:
        """Close the file."""
        for handler in self._logger.handlers:
            handler.close()
