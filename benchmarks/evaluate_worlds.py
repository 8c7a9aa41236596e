"""Simulation throughput of the lift task: waldo's batch of worlds against gymnasium's vector environments.

Both step the same worlds with the same commands for the same number of ticks. Usage:

    uv run python benchmarks/evaluate_worlds.py [worlds] [seconds of motion]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import gymnasium
import numpy as np
from numpy.typing import NDArray

import waldo.sim.environments.gym_env
from waldo.console import out
from waldo.sim.world import CONTROL_HZ, World

ROUNDS = 5
"""Repetitions of each contender, in turn."""


def commands(home: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return slow sine waves around the home position, (steps, joints) [rad]."""
    phase = np.arange(steps)[:, None] / CONTROL_HZ + np.arange(len(home))
    return home + 0.2 * np.sin(phase)


def batch(worlds: int, steps: int, threads: int) -> Callable[[], None]:
    """Return a function that runs all worlds in one batch."""
    world = World("lift", worlds=worlds, threads=threads)
    targets = commands(world.robot.home, steps)

    def run() -> None:
        world.reset(range(worlds))
        for target in targets:
            world.step(np.broadcast_to(target, (worlds, len(target))))
            world.environment()

    return run


def vector(worlds: int, steps: int, kind: str) -> Callable[[], None]:
    """Return a function that runs one gymnasium environment per world, in this process or in worker processes."""
    make = [lambda: gymnasium.make("waldo/Lift-v0", cameras=False) for _ in range(worlds)]
    environments = gymnasium.vector.SyncVectorEnv(make) if kind == "sync" else gymnasium.vector.AsyncVectorEnv(make)
    home = World("lift").robot.home
    per_action = round(CONTROL_HZ / environments.metadata.get("render_fps", CONTROL_HZ))
    targets = commands(home, steps)[::per_action].astype(np.float32)

    def run() -> None:
        environments.reset(seed=0)
        for target in targets:
            environments.step(np.tile(target, (worlds, 1)))

    return run


def main() -> None:
    """Time the contenders in turn, and print medians and ratios."""
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 4.0
    steps = round(seconds * CONTROL_HZ)
    contenders = {
        "gymnasium SyncVectorEnv": vector(worlds, steps, "sync"),
        "waldo World, 1 thread": batch(worlds, steps, 1),
        "waldo World, 2 threads": batch(worlds, steps, 2),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    peer = statistics.median(times["gymnasium SyncVectorEnv"])
    out().print(
        f"{worlds} worlds, {seconds:g} s of motion each, median of {ROUNDS} rounds in turn, "
        f"gymnasium {gymnasium.__version__}"
    )
    for name, values in times.items():
        median = statistics.median(values)
        out().print(
            f"{name:26s} {median:7.2f} s  {worlds * seconds / median:7.0f} x real time  {peer / median:5.1f} x peer"
        )


if __name__ == "__main__":
    assert waldo.sim.environments.gym_env
    main()
