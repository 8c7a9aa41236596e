"""The fast map of packages is that of the standard library, and LeRobot's libraries use it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from waldo.train import package_map


def sets(found: object) -> dict[str, set[str]]:
    assert isinstance(found, dict)
    return {package: set(names) for package, names in found.items()}


def test_it_equals_the_map_of_the_standard_library() -> None:
    code = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sets(package_map.packages_distributions.__wrapped__()) == sets(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"top_level.txt": "one\n_two\n"}, {"one", "_two"}),
        ({"RECORD": 'one/__init__.py,,\ntwo.py,,\n"with, comma/x.py",,\n\nx-1.dist-info/RECORD,,\n../bin/x,,\n'},
         {"one", "two", "with, comma"}),
        ({"RECORD": ""}, set()),
        ({}, set()),
    ],
    ids=["declared", "inferred", "empty", "unknown"],
)  # fmt: skip
def test_packages_of_a_distribution(
    files: dict[str, str], expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x-1.dist-info"
    folder.mkdir()
    for name, text in {"METADATA": "Name: x\nVersion: 1\n", **files}.items():
        (folder / name).write_text(text)
    for name in ("one/__init__.py", "two.py", "with, comma/x.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = package_map.packages_distributions.__wrapped__()
    assert set(found) == expected
    assert all(names == ["x"] for names in found.values())


def test_lerobot_s_libraries_use_it() -> None:
    package_map.install()  # as `conftest.py` did, in case they are imported already
    diffusers = importlib.import_module("diffusers.utils.import_utils")
    transformers = importlib.import_module("transformers.utils.import_utils")
    assert diffusers._package_map is package_map.packages_distributions()
    assert transformers.PACKAGE_DISTRIBUTION_MAPPING is package_map.packages_distributions()
