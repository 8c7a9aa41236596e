"""Models of MuJoCo Menagerie by folder name: from a local checkout, or downloaded with git, one folder at a time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from waldo.errors import FileError

SOURCE = "https://github.com/google-deepmind/mujoco_menagerie"
"""Address of the repository."""
PREFIX = "menagerie:"
"""Prefix of a robot name that names a folder of Menagerie."""
CHECKOUT = "MUJOCO_MENAGERIE"
"""Environment variable with the path of a local checkout."""


def find_model(name: str) -> Path:
    """Return the MJCF file of a Menagerie folder such as `unitree_g1`, from the local checkout or the cache.

    Raises:
        FileError: If there is no such folder, or if it cannot be downloaded.
    """
    local = os.environ.get(CHECKOUT)
    root = Path(local) if local else Path.home() / ".cache" / "waldo" / "mujoco_menagerie"
    if not local:
        _download(root, name)
    folder = root / name
    files = [path for path in folder.glob("*.xml") if not path.stem.startswith("scene") and "mjx" not in path.stem]
    if not files or root not in folder.resolve().parents:
        raise FileError(folder, "is not a model of MuJoCo Menagerie", f"see the list of folders at {SOURCE}")
    # The basic variant of a folder has the shortest name: g1.xml beside g1_with_hands.xml.
    return min(files, key=lambda path: (len(path.stem), path.stem))


def _download(root: Path, name: str) -> None:
    """Fetch one folder into the cache unless it is there already."""
    if (root / name).is_dir():
        return
    steps = [["git", "-C", str(root), "sparse-checkout", "add", name]]
    if not (root / ".git").exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        steps.insert(0, ["git", "clone", "--depth", "1", "--filter=blob:none", "--sparse", SOURCE, str(root)])
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
        except FileNotFoundError as error:
            raise FileError(SOURCE, "cannot be downloaded: git is not installed", "install git") from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"git exited with {done.returncode}"])[-1]
            do = f"set {CHECKOUT} to a local checkout, or give the path of an MJCF file"
            raise FileError(SOURCE, f"cannot be downloaded ({reason})", do)
