"""A policy server as a child process: the process that commands the robot never imports torch."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from waldo.train.serving import CHILD_VARIABLE, TOKEN_VARIABLE
from waldo.train.serving.client import PolicyClient, ServerError

LISTENING = re.compile(r"on (ws://\S+) ")
"""What a server prints once clients can connect."""

STOP_S = 10.0
"""Time for the child to end before it is killed [s]."""


class LocalServer:
    """Serves a checkpoint on the loopback interface, for this process only."""

    def __init__(self, checkpoint: Path, options: Sequence[str] = ()) -> None:
        """Start the child and wait until it listens.

        Args:
            checkpoint: Folder of the policy.
            options: Further options of `waldo serve`.

        Raises:
            ServerError: If the child ends, with its last line.
        """
        self._token = secrets.token_urlsafe()
        command = [sys.executable, "-m", "waldo", "serve", str(checkpoint), "--port", "0", *options]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, TOKEN_VARIABLE: self._token, CHILD_VARIABLE: "1", "COLUMNS": "1000"},
            start_new_session=True,
        )
        self.url = self._wait()

    def _wait(self) -> str:
        """Return the address once the server listens."""
        lines: deque[str] = deque(maxlen=20)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            lines.append(line.strip())
            if found := LISTENING.search(line):
                self._log = threading.Thread(target=_discard, args=(self._process.stderr,), daemon=True)
                self._log.start()
                return found[1]
        self._process.stderr.close()
        self._process.wait()
        last = next((line for line in reversed(lines) if line), "it printed nothing")
        raise ServerError(last.removeprefix("waldo: error: "))

    def connect(self) -> PolicyClient:
        """Return a connection to the server."""
        return PolicyClient(self.url, token=self._token)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def close(self) -> None:
        """End the child."""
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.join()


def _discard(lines: IO[str]) -> None:
    """Read what the child prints, so that it never blocks, and close the pipe at its end."""
    with lines:
        for _ in lines:
            pass
