"""The documentation is true: its site builds strictly, its code blocks run, its figures are those of the code.

Python blocks of a page run in order in one process, in a folder that contains the dataset `my-data`. Each line of a
shell block that calls `waldo` runs there too. If a command needs hardware, takes minutes or runs until it is stopped,
only its options are parsed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from waldo.cli import main
from waldo.errors import WaldoError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import figures  # noqa: E402

BLOCK = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

RUNS = ("info", "check", "list", "recover", "relabel", "delete", "restore", "filter", "split", "gc", "motors", "export")
"""Commands that finish within seconds and need nothing but `my-data`."""

PAGES = [page for page in figures.pages() if page.name != "CHANGELOG.md"]


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page in one of the languages."""
    return [match["text"] for match in BLOCK.finditer(page.read_text()) if match["language"] in languages]


def commands(page: Path) -> list[list[str]]:
    """Return the `waldo` commands of a page's shell blocks, as lists of words without comments and redirections."""
    found: list[list[str]] = []
    for text in blocks(page, "sh", "bash", "console", ""):
        for line in text.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ").removeprefix("uv run ").partition(" | ")[0].rstrip("& ")
            words = shlex.split(command, comments=True) if command.startswith("waldo ") else []
            if len(words) > 1 and words[1].isidentifier():
                found.append(words[1:])
    return found


@pytest.fixture
def folder(tmp_path: Path, record: Callable[..., object], script: Callable[..., object]) -> Path:
    """Return a folder that contains the small dataset `my-data`."""
    dataset = record(script(), script(seed=1, outcome="failure"), script(seed=2))
    shutil.copytree(dataset.path, tmp_path / "work" / "my-data")  # type: ignore[attr-defined]
    return tmp_path / "work"


def test_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_are_those_of_the_code(page: Path) -> None:
    assert figures.stale(page.read_text()) == []


def test_a_figure_that_differs_is_found() -> None:
    text = "CRF 20<!-- waldo.datasets.streams:CRF -->"
    assert figures.stale(text) == ["20 should be 21<!-- waldo.datasets.streams:CRF --> (waldo.datasets.streams:CRF)"]
    assert figures.FIGURE.sub(figures.current, text) == "CRF 21<!-- waldo.datasets.streams:CRF -->"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_blocks_run(page: Path, folder: Path) -> None:
    code = "\n\n".join(blocks(page, "python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_run_or_parse(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name, *words in commands(page):
        if name in RUNS and "--help" not in words and "my-data" in words:
            done = subprocess.run([sys.executable, "-m", "waldo", name, *words], capture_output=True, text=True)
            assert done.returncode in (0, 1), f"waldo {name} {shlex.join(words)}: {done.stderr}"
        elif "--help" not in words:
            try:
                main.parse(name, words)
            except WaldoError as error:
                pytest.fail(f"waldo {name} {shlex.join(words)}: {error}")
