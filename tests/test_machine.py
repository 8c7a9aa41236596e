"""A skipped test is either allowed by name or fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import FFMPEG, refused_skips

ROOT = Path(__file__).parent.parent


def test_only_listed_reasons_are_allowed() -> None:
    skipped = {"a": FFMPEG, "b": "no time"}
    assert refused_skips(skipped, "") == ["b: no time"]
    assert refused_skips(skipped, "none") == [f"a: {FFMPEG}", "b: no time"]


def test_a_skip_fails_a_run_that_allows_none(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "machine.py").read_text())
    (tmp_path / "test_one.py").write_text("import pytest\ndef test_one():\n    pytest.skip('no time')\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no time" in done.stdout


def test_torchcodec_without_ffmpeg_is_an_allowed_skip(monkeypatch, request):
    def missing(name):
        raise RuntimeError("Could not load libtorchcodec")

    monkeypatch.setattr("tests.machine.importlib.import_module", missing)
    with pytest.raises(pytest.skip.Exception) as skipped:
        request.getfixturevalue("torchcodec")
    assert skipped.value.msg == FFMPEG
