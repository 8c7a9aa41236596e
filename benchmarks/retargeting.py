"""Duration of a cycle of retargeting: both hands move, and the fingers of bare hands pinch.

Usage: uv run python benchmarks/retargeting.py [--robots so101 bi_openarm g1_dex3] [--cycles 1200]

A cycle is what the device `headset` does with a sample: checks, filter, and one quadratic program. It has 16.7 ms at
60 Hz. Robots with hands follow synthetic bare hands, the others controllers.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from workload import print_table

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.headset import Headset
from waldo.robots.description import load_robot

DT_S = 1 / 60
"""Duration of a cycle [s]."""
ROBOTS = ("so101", "vx300s", "bi_so101", "bi_openarm", "aloha", "g1", "g1_dex3", "g1_inspire")
WARM_UP = 10
"""Cycles that are not measured."""


def durations_ms(robot_name: str, cycles: int, source: Any, hand: Any) -> tuple[int, np.ndarray]:
    """Return the number of joints and the duration of each cycle, shape (cycles,) [ms]."""
    robot = load_robot(robot_name)
    bare = any(hand_part in robot_name for hand_part in ("dex3", "inspire"))
    headset = Headset(robot, source=source, clock_ns=source.clock_ns)
    session, position, found = RecordingSession(), robot.home.copy(), []
    for cycle in range(cycles + WARM_UP):
        time_s, held = cycle * DT_S, float(cycle > 1)
        source.now_ns += int(DT_S * 1e9)
        source.change(stamp_ns=source.now_ns)
        for side, x in (("left", -0.2), ("right", 0.2)):
            pose = np.eye(4)
            pose[:3, 3] = x, 1.1, -0.4
            pose[:3, 3] += 0.06 * np.array([np.sin(2 * time_s), np.sin(1.3 * time_s), np.cos(1.7 * time_s) - 1])
            pinch = 0.5 + 0.5 * np.sin(3 * time_s)
            joints = hand(side, pose=pose, pinch=pinch, curl={"ring": held, "pinky": held}).joints if bare else None
            source.hand(side, pose=pose, squeeze=held, trigger=pinch, joints=joints)
        observation = Observation(stamp_ns=0, position=position, environment={})
        before = time.perf_counter()
        command = headset.step(observation, session, DT_S)
        if cycle >= WARM_UP:
            found.append(time.perf_counter() - before)
        position = position if command is None else command.copy()
    return len(robot.joints), 1e3 * np.array(found)


def main() -> None:
    """Measure robots one after another and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", nargs="+", default=ROBOTS)
    parser.add_argument("--cycles", type=int, default=1200)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "importable"))
    source, hand = (importlib.import_module(name) for name in ("tracking_source", "human_hand"))
    rows = []
    for name in arguments.robots:
        joints, found = durations_ms(name, arguments.cycles, source.TestedSource(), hand.tracked_hand)
        quantiles = np.quantile(found, (0.5, 0.99, 1.0))
        rows.append([name, joints, *(f"{value:.2f}" for value in quantiles)])
    print_table("Cycle of retargeting", ["robot", "joints", "median [ms]", "99 % [ms]", "largest [ms]"], rows)


if __name__ == "__main__":
    main()
