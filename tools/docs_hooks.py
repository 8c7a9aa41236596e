"""MkDocs hook: give mkdocstrings a copy of the package in which the rooms are ordinary packages.

The rooms are links to folders without `__init__.py` (see tests/test_layout.py), which the static analysis of
mkdocstrings does not enter.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

ROOT = Path(__file__).parent.parent


@event_priority(100)
def on_config(config: Any) -> Any:
    """Copy the package, follow the links, and point mkdocstrings to the copy, before it reads its paths."""
    folder = Path(tempfile.mkdtemp(prefix="waldo-docs-"))
    shutil.copytree(ROOT / "waldo", folder / "waldo", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for path in (folder / "waldo").rglob("*"):
        if path.is_dir() and not (path / "__init__.py").exists():
            (path / "__init__.py").touch()
    config.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [str(folder)]
    config.extra["copied_package"] = str(folder)
    return config


def on_post_build(config: Any) -> None:
    """Remove the copy."""
    shutil.rmtree(config.extra["copied_package"], ignore_errors=True)
