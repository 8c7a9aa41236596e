"""CPU time and latency of recorder and teleop, with waldo's waiting for messages and with rclpy's executor.

Usage: uv run python benchmarks/wait_sets.py [--seconds 15] [--rounds 3]

A simulated arm, a scripted operator and a recorder run as processes over DDS, in turn with `waldo.ros.Graph.spin_once`
as it is and with one that runs rclpy's executor each time, with one timeout object for all waits: with another one in
each wait, rclpy would drop the messages that it has found ready. Latency is receipt minus publication in the recording.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from waldo.datasets.dataset import Dataset

EXECUTOR = """
import waldo.ros
from rclpy.executors import TimeoutObject

timeout = TimeoutObject(0.0)

def spin_once(self, timeout_s=0.1):
    timeout.timeout = max(0.0, timeout_s)
    self._executor.spin_once(timeout_sec=timeout)

waldo.ros.Graph.spin_once = spin_once
"""
"""The patch that leaves everything to rclpy's executor."""

RUN = "import sys; from waldo.cli.main import main; sys.exit(main(sys.argv[1:]))"

STREAMS = ("joints/state", "joints/command")


def start(patch: str, *args: str) -> subprocess.Popen[bytes]:
    """Start a waldo command in a process of its own."""
    environment = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": "77"}
    return subprocess.Popen(
        [sys.executable, "-c", patch + RUN, *args],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU time of a process so far [s]."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, patch: str, seconds: float) -> list[float]:
    """Return the CPU s/s of recorder and teleop, and the median and 99th percentile of both latencies [ms]."""
    robot = start("", "robot", "so101", "--no-cameras")
    recorder = start(patch, "record", str(folder), "--robot", "so101", "--operator", "script")
    time.sleep(5)
    teleop = start(patch, "teleop", "script", "--robot", "so101", "--task", "lift", "--episodes", "1000")
    time.sleep(5)
    before = cpu_s(recorder), cpu_s(teleop)
    time.sleep(seconds)
    used = [(cpu_s(recorder) - before[0]) / seconds, (cpu_s(teleop) - before[1]) / seconds]
    for process in (teleop, recorder, robot):
        process.send_signal(signal.SIGINT)
        process.wait(60)
    episodes = Dataset.open(folder).episodes
    for stream in STREAMS:
        late = [e.time_ns(stream, "receipt") - e.time_ns(stream, "header") for e in episodes if stream in e.streams]
        used += np.percentile(np.concatenate(late) / 1e6, [50, 99]).tolist()
    return used


def main() -> None:
    """Measure both in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ways = {"rclpy's executor": EXECUTOR, "waldo": ""}
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for name, patch in ways.items():
                found[name].append(measure(Path(folder) / f"{name}-{number}", patch, given.seconds))
    print("| waiting | recorder, teleop [CPU s/s] | states: median, 99 % [ms] | commands: median, 99 % [ms] |")
    print("|---|---|---|---|")
    for name, rounds in found.items():
        r, t, s50, s99, c50, c99 = np.median(rounds, axis=0)
        print(f"| {name} | {r:.3f}, {t:.3f} | {s50:.2f}, {s99:.2f} | {c50:.2f}, {c99:.2f} |")


if __name__ == "__main__":
    main()
