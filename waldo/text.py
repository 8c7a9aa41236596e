"""Quantities in text for people."""

from __future__ import annotations


def format_bytes(nbytes: float) -> str:
    """Return a number of bytes with a decimal unit: "999 B", "1.5 MB"."""
    value = float(nbytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
