"""Evaluation of a policy that sees images: rendered when it looks, against every image of every observation.

Both run the same checkpoint on the same seeds, in turn. The other contender renders all worlds, finished ones included,
each time that the policy is asked for an action, and copies the state of a world for each camera, as waldo did before.
Usage:

    uv run python benchmarks/evaluate_images.py CHECKPOINT [--task pick] [--episodes 100] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from waldo.console import out
from waldo.sim.evaluation import evaluate as module
from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.results import EvalConfig, EvalResult
from waldo.sim.policy import Observation
from waldo.sim.world import World
from waldo.train.policies.lerobot_policy import LeRobotPolicy


class EveryImage(LeRobotPolicy):
    """A policy that has every image of every observation rendered, and looks as often as before."""

    def act(self, observation: Observation) -> Any:
        """Return the targets, (worlds, joints) [rad]."""
        return super().act({key: value if key == "task" else np.asarray(value) for key, value in observation.items()})


def run(policy: LeRobotPolicy, config: EvalConfig, *, every: bool) -> tuple[float, EvalResult]:
    """Return the time of an evaluation [s] and its result; with `every`, rendered as before."""
    observe, render = module.observe, World.render_cameras

    def each_by_itself(world: World, index: int, sizes: Any) -> Any:
        return {name: render(world, index, {name: size})[name] for name, size in sizes.items()}

    if every:
        module.observe = lambda world, keys, sizes, active: observe(world, keys, sizes)  # type: ignore[assignment]
        World.render_cameras = each_by_itself  # type: ignore[method-assign]
    try:
        start = time.perf_counter()
        found = evaluate(policy, config)
        return time.perf_counter() - start, found
    finally:
        module.observe, World.render_cameras = observe, render  # type: ignore[method-assign]


def main() -> None:
    """Time both in turn, compare their results, and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--task", default="pick")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    config = EvalConfig(task=options.task, episodes=options.episodes, videos=0)
    contenders = {
        "every image": EveryImage(options.checkpoint, threads=2),
        "when the policy looks": LeRobotPolicy(options.checkpoint, threads=2),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, EvalResult] = {}
    for number in range(options.rounds):
        for name, policy in contenders.items():
            seconds, results[name] = run(policy, config, every=isinstance(policy, EveryImage))
            times[name].append(seconds)
            out().print(f"round {number + 1}, {name}: {seconds:.1f} s, {results[name].successes} succeeded")
    first, second = results.values()
    same = first.success == second.success and first.seconds == second.seconds
    out().print(f"successes and times of all seeds {'are equal' if same else 'DIFFER'}")
    medians = [statistics.median(values) for values in times.values()]
    out().print(f"medians {medians[0]:.1f} and {medians[1]:.1f} s, ratio {medians[0] / medians[1]:.1f}")


if __name__ == "__main__":
    main()
