"""Every example runs as its docstring states."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
USAGE = re.compile(r"^Usage: python (examples/\S+)(.*)$", re.MULTILINE)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path, record: Callable[..., object], script: Callable[..., object]) -> None:
    usage = USAGE.search(path.read_text())
    assert usage, f"{path.name} has no line 'Usage: python examples/{path.name}'"
    assert usage[1] == f"examples/{path.name}"
    words = shlex.split(usage[2])
    if "my-data" in words:
        dataset = record(script(), script(seed=1))
        shutil.copytree(dataset.path, tmp_path / "work" / "my-data")  # type: ignore[attr-defined]
    (tmp_path / "work").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, path, *words], cwd=tmp_path / "work", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
