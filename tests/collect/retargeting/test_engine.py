"""MuJoCo and mink are imported after the choice of a GL back end, and a missing one is named with its extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from waldo.errors import MissingExtraError
sys.modules[{module!r}] = None
try:
    import waldo.collect.retargeting.engine
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize("module", ["mujoco", "mink"])
def test_a_missing_package_is_named_with_its_extra(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, check=True
    )
    expected = f"the package {module!r} is not installed; install it with: uv sync --inexact --extra retargeting"
    assert done.stdout.strip() == expected
