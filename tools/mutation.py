"""Mutation testing of the modules on which safety and recorded data depend.

`python tools/mutation.py [FOLDER]` copies the sources into FOLDER (default: build/mutation) and runs mutmut there; a
second run continues. mutmut does not follow the links of the package's folder, so the copy has none. The tests are
those below. Messages are not mutated: their wording is tested where a user depends on it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

MODULES = ("robots/control/*", "robots/thermal/governor.py", "datasets/recording/*", "collect/recorder/*")
TESTS = (
    "tests/robots/control",
    "tests/robots/thermal/test_governor.py",
    "tests/datasets/recording",
    "tests/datasets/test_dataset.py",
    "tests/datasets/test_episode.py",
    "tests/collect/recorder",
)
NO_MUTATION = (r"LOG\.", r"raise \w+\(", r'^\s*f?"', r"^def __init__", r"cast\(", r"TypeVar\(")
"""Lines that only log or word an error."""


def quoted(values: tuple[str, ...]) -> str:
    """Return values as an array of TOML literal strings."""
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


def copy(folder: Path) -> None:
    """Copy the sources and tests, with folders in place of links, and mutmut's configuration."""
    for name in ("waldo", "tests", "examples", "docs", "tools", "plugins", "benchmarks", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("collect", "datasets", "fleet", "robots", "sim", "train"):
        (folder / name).symlink_to(folder / "waldo" / name)
    config = (ROOT / "pyproject.toml").read_text()
    config += f"""
[tool.mutmut]
source_paths = ["waldo"]
only_mutate = {quoted(tuple(f"waldo/{module}" for module in MODULES))}
do_not_mutate_patterns = {quoted(NO_MUTATION)}
pytest_add_cli_args_test_selection = {quoted(TESTS)}
pytest_add_cli_args = ["-p", "no:cacheprovider"]
also_copy = ["examples", "docs", "plugins"]
timeout_multiplier = 4.0
timeout_constant = 2.0
process_isolation = "forkserver"  # threads of DDS must not exist in a process that forks
"""
    (folder / "pyproject.toml").write_text(config)


def main() -> int:
    """Run mutmut and print the survivors."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "mutation").resolve()
    if not (folder / "pyproject.toml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        copy(folder)
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    code = subprocess.run([mutmut, "run"], cwd=folder).returncode
    subprocess.run([mutmut, "results"], cwd=folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
