"""The browsers that have been paired, which stay paired when the server restarts.

A browser holds a random secret in a cookie. The file has only its SHA-256, so that a copy of the file opens nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from waldo.errors import FileError
from waldo.files import write_atomic
from waldo.json_file import read_json
from waldo.web.folders import private_folder
from waldo.web.roles import Role, role_named

IDLE_S = 30 * 86400.0
"""Time without a request after which a browser must be paired again [s]."""
SAVE_EVERY_S = 60.0
"""Interval at which the time of a browser's last request is saved [s]."""
MAX_BROWSERS = 200
"""Number of paired browsers; the one that was used the longest ago makes room for a new one."""
MAX_NAME = 60
"""Longest name of a browser [characters]."""
SECRET_BYTES = 32
"""Size of a browser's secret [bytes]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedBrowser:
    """A browser that may log in by its secret."""

    browser: str
    """Identity, which is no secret."""
    digest: str
    """SHA-256 of its secret, in hexadecimal digits."""
    role: Role
    """Its rights."""
    name: str
    """Name that its user has given it."""
    created_s: float
    """When it was paired [s since the epoch]."""
    seen_s: float
    """When it last sent a request [s since the epoch]."""


class PairedBrowsers:
    """Paired browsers in a file that only this user can read; its methods may be called from any thread."""

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Load the file.

        Args:
            path: The file; None to keep the browsers until this process ends.
            clock: Returns the time since the epoch [s].
        """
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._browsers = _load(path)
        self._saved_s = clock()

    def add(self, name: str, role: Role) -> tuple[PairedBrowser, str]:
        """Pair a browser; return it and its secret, which is not stored."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now_s = self._clock()
        shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:MAX_NAME]
        made = PairedBrowser(
            browser=secrets.token_hex(4),
            digest=_digest(secret),
            role=role,
            name=shown or "browser",
            created_s=now_s,
            seen_s=now_s,
        )
        with self._lock:
            kept = sorted(self._browsers.values(), key=lambda one: one.seen_s)[-(MAX_BROWSERS - 1) :]
            self._browsers = {one.digest: one for one in [*kept, made]}
            self._save()
        return made, secret

    def find(self, secret: str) -> PairedBrowser | None:
        """Return the browser of a secret; None if it is not paired, or has not been used for `IDLE_S`."""
        now_s = self._clock()
        with self._lock:
            # Looked up by a digest: the duration of the search reveals nothing about a secret.
            found = self._browsers.get(_digest(secret)) if secret else None
            if found is None or now_s - found.seen_s > IDLE_S:
                return None
            self._browsers[found.digest] = found = replace(found, seen_s=now_s)
            if now_s - self._saved_s >= SAVE_EVERY_S:
                # On a full disk, too, a paired browser must be able to stop the robot.
                with contextlib.suppress(OSError):
                    self._save()
        return found

    def revoke(self, browser: str) -> PairedBrowser | None:
        """Remove a browser by its identity and return it; None if there is none."""
        with self._lock:
            found = next((one for one in self._browsers.values() if one.browser == browser), None)
            if found is not None:
                del self._browsers[found.digest]
                self._save()
        return found

    def all(self) -> list[PairedBrowser]:
        """Return the paired browsers, the one used last first."""
        with self._lock:
            return sorted(self._browsers.values(), key=lambda one: -one.seen_s)

    def _save(self) -> None:
        self._saved_s = self._clock()
        if self._path is None:
            return
        rows = [
            {
                "browser": one.browser,
                "sha256": one.digest,
                "role": one.role.word,
                "name": one.name,
                "created_s": one.created_s,
                "seen_s": one.seen_s,
            }
            for one in self._browsers.values()
        ]
        private_folder(self._path.parent)
        content = {"format": "waldo-paired-browsers", "schema_version": 1, "browsers": rows}
        write_atomic(self._path, json.dumps(content, indent=1), mode=0o600)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _load(path: Path | None) -> dict[str, PairedBrowser]:
    """Return the browsers of a file by their digests; none if it is missing.

    Raises:
        FileError: If the file is damaged: whom it would let in is unknown.
    """
    if path is None or not path.exists():
        return {}
    do = "delete it, and pair the browsers again"
    content = read_json(path)
    try:
        if content["format"] != "waldo-paired-browsers" or content["schema_version"] != 1:
            raise FileError(path, "is of an unsupported version", do)
        found = [_browser(row) for row in content["browsers"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(path, f"is damaged ({type(error).__name__}: {error})", do) from error
    return {one.digest: one for one in found}


def _browser(row: dict[str, object]) -> PairedBrowser:
    """Return the browser of a row of the file; raise ValueError, KeyError or TypeError if it is not one."""
    role, digest, times = role_named(row["role"]), row["sha256"], (row["created_s"], row["seen_s"])
    if role is None or not isinstance(digest, str) or len(digest) != 64:
        raise ValueError("a browser without role or digest")
    created_s, seen_s = (float(one) if isinstance(one, int | float) else math.nan for one in times)
    if not (math.isfinite(created_s) and math.isfinite(seen_s)):
        raise ValueError("a time that is not a number")
    browser, name = str(row["browser"]), str(row["name"])
    return PairedBrowser(browser=browser, digest=digest, role=role, name=name, created_s=created_s, seen_s=seen_s)
