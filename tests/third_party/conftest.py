"""Other people's programs, each in an environment of its own, and emulated hardware for them.

An environment is created once per machine, in the user's cache: its name contains the packages and the interpreter.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.machine import install_apart
from waldo.sim.emulation.arms import make_bare_motors
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.servo_bus import SerialServos

CLIENTS = Path(__file__).parent / "clients"
TIMEOUT_S = 300
"""Longest duration of a program on a busy machine [s]."""


def environment(*packages: str) -> Path:
    """Return the Python of an environment with these packages; skip the test without a package index."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waldo-tests"
    key = hashlib.sha256("\n".join([sys.version, sys.base_prefix, *packages]).encode()).hexdigest()[:16]
    folder = cache / f"{packages[0].partition('==')[0]}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder / "complete"
        if not complete.exists():
            install_apart(folder, *packages)
            complete.touch()
    return folder / "bin" / "python"


def run(*command: str | Path, input_text: str = "") -> str:
    """Run a program and return what it printed; fail the test if it reports an error."""
    done = subprocess.run(
        [str(part) for part in command],
        input=input_text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@contextmanager
def background(*command: str | Path) -> Iterator[Callable[[], str]]:
    """Run a program until the block ends, then end its input; yield a function that returns what it printed."""
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
    ) as program:
        printed: list[str] = []
        try:
            yield lambda: "".join(printed)
        finally:
            try:
                printed.append(program.communicate(timeout=TIMEOUT_S)[0])
            except subprocess.TimeoutExpired:
                program.kill()
                raise


@contextmanager
def servos(vendor: str, *motors: str, **options: object) -> Iterator[SerialServos]:
    """Run servos side by side on a table, that turn without limits."""
    robot, model = make_bare_motors(motors)
    kind = {"feetech": FeetechServos, "dynamixel": DynamixelServos}[vendor]
    with kind(EmulatedJoints(robot, model=model), models=motors, **{"calibrated": False, **options}) as found:  # type: ignore[arg-type]
        yield found


@pytest.fixture(scope="session")
def client() -> Callable[..., str]:
    """Run a script of `clients` in an environment: `client("script.py", ["package==1.0"], argument...)`."""

    def call(script: str, packages: list[str], *arguments: str) -> str:
        return run(environment(*packages), CLIENTS / script, *arguments)

    return call
