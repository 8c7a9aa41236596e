"""The user's folder for what servers keep: certificates, paired browsers and audit logs."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of waldo in the user's data folder (XDG_DATA_HOME)."""
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "waldo"


def private_folder(path: Path) -> Path:
    """Create a folder that only this user can read, unless it exists, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
