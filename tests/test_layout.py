"""The layout: rooms are links in one package, nothing shadows a library, imports point one way and form no cycle.

Imports are counted wherever they stand: at the top of a file, inside a function, under `TYPE_CHECKING`, and as strings
such as "waldo.sim.twin:TwinDriver". Only entry points may name a room above: `waldo.registry` loads them by name.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
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
ROOT_MODULES = {
    "errors",
    "typing",
    "files",
    "json_file",
    "registry",
    "ros",
    "process",
    "console",
    "templates",
    "graphics",
    "web",
}
"""Modules of the package root that every room may import."""

MODULE = re.compile(r"waldo(?:\.\w+)+(?=[:.]|$)")
FOLDER_LIMIT = 22
"""Files and folders directly in a folder; more than that should be sub-folders."""


def files() -> list[Path]:
    """Return the source files of all rooms and of the package root, without following links."""
    rooms = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    root = [path for path in (ROOT / "waldo").rglob("*.py") if path.relative_to(ROOT / "waldo").parts[0] not in ROOMS]
    return sorted(rooms + root)


def module_of(path: Path) -> str:
    """Return a file's module: robots/node.py -> waldo.robots.node."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "waldo" else ("waldo", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> frozenset[str]:
    """Return the names of all modules."""
    return frozenset(module_of(path) for path in files())


def named_modules(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each module that a file imports or names in a string, and whether it is needed at run time."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            found = [match[0] for match in [MODULE.match(node.value)] if match]
        for name in found:
            while name.startswith("waldo") and name not in modules():
                name = name.rpartition(".")[0]
            if name.startswith("waldo."):
                yield name, id(node) not in typing_only


@cache
def graph() -> dict[str, set[str]]:
    """Return module -> the modules that it needs at run time, at any place in the file."""
    return {
        module_of(path): {name for name, needed in named_modules(path) if needed} - {module_of(path)}
        for path in files()
    }


def cycles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in arrows.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in arrows:
        if node not in index:
            visit(node)
    return found


def room_of(module: str) -> str:
    """Return the room of a module, or the first part below `waldo`."""
    return f"{module}.".split(".")[1]


def test_the_cycle_search_finds_a_cycle() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    assert cycles({"a": {"b"}, "b": set()}) == []


def test_no_import_cycle_between_files() -> None:
    assert cycles(graph()) == []


def test_rooms_form_no_cycle_and_import_only_rooms_below() -> None:
    upwards = {
        f"{module_of(path)} -> {name}"
        for path in files()
        if (room := room_of(module_of(path))) in ROOMS
        for name, _ in named_modules(path)
        if room_of(name) not in MAY_IMPORT[room] | {room} | ROOT_MODULES
    }
    assert upwards == set()


def test_entry_points_name_what_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group in project["entry-points"].values():
        for reference in group.values():
            module, _, attribute = reference.partition(":")
            assert module in modules(), reference
            path = next(path for path in files() if module_of(path) == module)
            assert re.search(rf"^(class |def |){attribute}\b", path.read_text(), re.MULTILINE), reference


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_a_link_in_the_package_and_no_package_itself(room: str) -> None:
    link = ROOT / "waldo" / room
    assert link.is_symlink()
    assert link.resolve() == (ROOT / room).resolve()
    # Hugging Face's `datasets` would be hidden by a package of that name at the root.
    assert not (ROOT / room / "__init__.py").exists()


def test_every_sub_folder_of_a_room_is_a_package_with_a_purpose() -> None:
    for folder in {path.parent for path in files()} - {ROOT / room for room in ROOMS}:
        tree = ast.parse((folder / "__init__.py").read_text())
        assert ast.get_docstring(tree), folder


def test_every_room_is_type_checked() -> None:
    # Pyrefly does not follow the links by itself.
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyrefly"]["project-includes"]
    assert set(files()) <= {path.resolve() for pattern in include for path in ROOT.glob(pattern)}


def test_no_init_below_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_files_and_folders_are_small() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    long = {
        name: lines
        for name in tracked.splitlines()
        if (ROOT / name).is_file() and (lines := len((ROOT / name).read_text().splitlines())) > 400
        if not name.startswith("tests/")
    }
    assert long == {}
    full = {
        str(folder.relative_to(ROOT)): len(entries)
        for folder in {path.parent for path in files()}
        if len(entries := [p for p in folder.iterdir() if p.name not in ("__pycache__", "__init__.py")]) > FOLDER_LIMIT
    }
    assert full == {}


@pytest.mark.parametrize("words", [["-c", "import datasets; print(datasets.__file__)"], ["-m", "site"]])
def test_datasets_is_hugging_faces_even_from_the_root(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    if words[0] == "-c":
        assert "site-packages/datasets/__init__.py" in done.stdout.replace("\\", "/")


def test_no_module_is_named_after_a_library() -> None:
    libraries = {"zarr", "mujoco", "torch", "rclpy", "numpy", "av", "rich", "yaml", "lerobot", "gymnasium"}
    assert not {path.stem for path in files()} & libraries


def test_importing_a_command_loads_no_heavy_library() -> None:
    names = [module_of(path) for path in files() if path.parent.name == "cli" and path.stem != "__init__"]
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        "print([m for m in ('torch', 'lerobot', 'rclpy', 'mujoco', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mujoco_is_imported_after_the_choice_of_a_back_end() -> None:
    """MuJoCo reads MUJOCO_GL when it is imported, and mink imports it."""
    direct = {
        module_of(path)
        for path in files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.partition(".")[0] in ("mujoco", "mink")
    }
    # The first has it for type checkers only, the second chooses before.
    assert direct == {"waldo.sim.experts.kinematics", "waldo.datasets.formats.replay_buffer.end_effector"}
