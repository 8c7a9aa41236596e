"""How pytest-xdist distributes the tests over processes (`pytest -n auto --dist loadgroup --no-loadscope-reorder`)."""

from __future__ import annotations

from collections import defaultdict

import pytest

SHARED = ("trained", "store", "ray_cluster")
"""Fixtures of the session that take long: the files that use one of them run in one process."""

LONG = ("tests/test_demo.py", "tests/train/test_store_training.py", "tests/test_style.py", "tests/test_recording.py")
"""Files that take minutes: they start first, so that no process is left with one of them at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and files that share a fixture as well; sort long files first."""
    files: dict[str, set[str]] = defaultdict(set)
    for item in items:
        files[item.nodeid.partition("::")[0]].update(getattr(item, "fixturenames", ()))
    for item in items:
        file = item.nodeid.partition("::")[0]
        group = next((name for name in SHARED if name in files[file]), file)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in LONG)
