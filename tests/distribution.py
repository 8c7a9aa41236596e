"""How pytest-xdist distributes the tests over processes (`scripts/test`): by file, long ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/test_demo.py",
    "tests/train/",
    "tests/cli/policies/test_eval.py",
    "tests/cli/policies/test_serve.py",
    "tests/collect/test_lerobot_plugin.py",
    "tests/datasets/formats/test_convert",
    "tests/datasets/lerobot/test_export",
    "tests/datasets/lerobot/test_import",
)
"""Files that run in one process: they share the imports of LeRobot or a trained policy, which take longer than their
tests."""

LONG = (
    *TOGETHER,
    "tests/test_recording.py",
    "tests/test_operator_mistakes.py",
    "tests/datasets/lerobot/test_checkers.py",
)
"""Tests that take minutes: they start first, so that no process is left with one of them at the end."""


def group_of(nodeid: str) -> str:
    """Return the tests that run in the same process as a test."""
    file = nodeid.partition("::")[0]
    return "together" if file.startswith(TOGETHER) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort long files first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Return the scheduler of the processes."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)
