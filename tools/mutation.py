"""Mutation testing of the modules on which safety and recorded data depend.

`python tools/mutation.py` copies the sources into build/mutation and runs mutmut there; a second run continues. mutmut
does not follow the links of the package's folder, so the copy has none. The tests are those below. Messages are not
mutated: their wording is tested where a user depends on it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Collection
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


def sample(folder: Path, size: int) -> list[str]:
    """Return a random sample of the mutants, the same in every run."""
    names: list[str] = []
    for path in sorted((folder / "mutants").rglob("*.meta")):
        names += json.loads(path.read_text())["exit_code_by_key"]
    return sorted(random.Random(0).sample(names, min(size, len(names))))


def report(folder: Path, names: Collection[str]) -> None:
    """Print the mutants that no test noticed and the score."""
    killed: dict[str, int] = {}
    total: dict[str, int] = {}
    for path in sorted((folder / "mutants").rglob("*.meta")):
        module = str(path.relative_to(folder / "mutants" / "waldo")).removesuffix(".py.meta")
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            if code is None or (names and name not in names):
                continue
            total[module] = total.get(module, 0) + 1
            survived = code in (0, 33)  # 33: no test runs the function
            killed[module] = killed.get(module, 0) + (not survived)
            if survived:
                sys.stdout.write(f"survived: {name}\n")
    for module, number in total.items():
        sys.stdout.write(f"{module}: {killed[module]} of {number}\n")
    sys.stdout.write(f"score: {sum(killed.values())} of {sum(total.values())}\n")


def main() -> int:
    """Run mutmut on all mutants or on a sample of them and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--sample", type=int, default=0, help="number of mutants, chosen at random; 0: all")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if not (folder / "pyproject.toml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        copy(folder)
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    names: list[str] = []
    if options.sample:
        # A run of no mutant generates all of them and finds the tests of each function.
        if not list((folder / "mutants").rglob("*.meta")):
            subprocess.run([mutmut, "run", "none"], cwd=folder, check=False)
        names = sample(folder, options.sample)
    code = subprocess.run([mutmut, "run", *names], cwd=folder).returncode
    report(folder, names)
    return code


if __name__ == "__main__":
    sys.exit(main())
