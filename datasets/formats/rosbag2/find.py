"""Find the bags of a path."""

from __future__ import annotations

from pathlib import Path

from waldo.datasets.formats.natural_order import natural

SUFFIXES = (".mcap", ".db3")
"""Suffixes of bag files."""


def bags_of(path: Path) -> list[Path]:
    """Return the bags of a path: the path itself if it is a bag, or those in a folder in natural order."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    if (path / "metadata.yaml").is_file():
        return [path]
    inside = sorted(path.iterdir(), key=lambda p: natural(p.name))
    return [p for p in inside if (p / "metadata.yaml").is_file() or (p.is_file() and p.suffix in SUFFIXES)]
