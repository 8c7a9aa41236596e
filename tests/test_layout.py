"""The layout holds: rooms are links in one package, nothing shadows a library, no room imports upwards."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("collect", "train", "sim", "robots", "datasets", "fleet")
MAY_IMPORT = {
    "robots": set[str](),
    "datasets": {"robots"},
    "collect": {"robots", "datasets"},
    "sim": {"robots", "datasets"},
    "train": {"robots", "datasets", "sim"},
    "fleet": {"robots"},
}


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {parts[1] for module in modules if (parts := module.split("."))[0] == "waldo" and len(parts) > 1}
    return found & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_a_link_in_the_package_and_no_package_itself(room: str) -> None:
    link = ROOT / "waldo" / room
    assert link.is_symlink()
    assert link.resolve() == (ROOT / room).resolve()
    assert not (ROOT / room / "__init__.py").exists()


def test_every_room_is_type_checked() -> None:
    # Pyright does not follow the links by itself.
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]["include"]
    assert {f"waldo/{room}" for room in ROOMS} < set(told)


def test_no_init_below_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_rooms_below_it(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        upwards = imported_rooms(path) - MAY_IMPORT[room] - {room}
        assert not upwards, f"{path.relative_to(ROOT)} imports {upwards}"


@pytest.mark.parametrize("words", [["-c", "import datasets; print(datasets.__file__)"], ["-m", "site"]])
def test_datasets_is_hugging_faces_even_from_the_root(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    if words[0] == "-c":
        assert "site-packages/datasets/__init__.py" in done.stdout.replace("\\", "/")


def test_no_module_is_named_after_a_library() -> None:
    libraries = {"zarr", "mujoco", "torch", "rclpy", "numpy", "av", "rich", "yaml", "lerobot", "gymnasium"}
    names = {path.stem for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert not names & libraries


@pytest.mark.parametrize("room", ["robots", "datasets", "collect", "sim", "fleet"])
def test_importing_a_rooms_commands_brings_no_heavy_library(room: str) -> None:
    module = "waldo.cli.robot" if room == "robots" else f"waldo.{room}.commands"
    if room == "sim":
        module = "waldo.sim.tasks.goal"
    code = f"import sys, {module}; print([m for m in ('torch', 'lerobot', 'rclpy', 'mujoco') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
