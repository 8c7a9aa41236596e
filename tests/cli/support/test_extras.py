"""Every optional package that waldo imports belongs to an extra, so that a missing one can be named."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import requires

import pytest

from tests.test_layout import files
from waldo import DISTRIBUTION
from waldo.cli.support.extras import extra_of

BASE = {"numpy", "zarr", "av", "google_crc32c", "cv2", "rich", "tyro", "yaml", "jinja2", "pydantic"}
"""Modules of the dependencies that every installation has."""


def optional_modules() -> set[str]:
    """Return the top-level modules that waldo imports and that neither it, Python nor its base dependencies provide."""
    found: set[str] = set()
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - BASE - {"waldo", "__future__"} - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("rclpy", "collect"), ("lerobot", "train"), ("torch", "train"), ("can", "can"), ("serial", "serial")],
)
def test_the_extra_of_a_module(module: str, extra: str) -> None:
    assert extra_of(module) == extra


def test_a_module_of_no_extra_has_none() -> None:
    assert extra_of("nosuch") is None


def test_extras_are_read_from_the_metadata() -> None:
    assert any("extra" in one for one in requires(DISTRIBUTION) or [])
