"""A policy whose inference takes longer than its chunk, at 50 Hz: no cycle may be missed, and no command may jump.

Usage: uv run python benchmarks/policy_loop.py [--seconds 60]

The robot (`waldo robot`, the simulated twin with its cameras) and the policy (`waldo run --server`) are processes of
their own; this process is the policy server. Its chunks of 0.5 s are random walks, so that two of them differ as much
as those of a real policy, and arrive after 0.65 s. Commands are measured as the robot receives them: the largest step
and the largest change of velocity, as a fraction of the limits of the joint.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from workload import machine

from waldo.console import out
from waldo.process import own_graph
from waldo.robots.description import load_robot
from waldo.train.serving.inputs import PolicyInputs
from waldo.train.serving.server import PolicyServer

FRONT, SIZE, FPS, ACTIONS, RATE_HZ = "observation.images.front", (128, 96), 30, 15, 50
INFERENCE_S = 0.65
"""Longer than a chunk [s]."""


class Slow:
    """A policy that takes its time, and predicts random walks from the present position."""

    def __init__(self, lower: np.ndarray, upper: np.ndarray) -> None:
        self._random, self._lower, self._upper = np.random.default_rng(0), lower, upper

    def predict(self, observations: Sequence[Any]) -> np.ndarray:
        """Return a chunk for each observation."""
        time.sleep(INFERENCE_S)
        state = np.stack([one["observation.state"] for one in observations])
        walk = self._random.normal(0, 0.03, (len(state), ACTIONS, state.shape[1])).cumsum(axis=1)
        return np.clip(state[:, None] + walk, self._lower, self._upper)


def serve(policy: Slow, joints: Sequence[str]) -> int:
    """Serve a policy on a thread; return the port."""
    ports: list[int] = []
    listening = threading.Event()
    inputs = PolicyInputs(vectors={"observation.state": len(joints)}, images={FRONT: SIZE})
    contract = {"fps": FPS, "joints": list(joints), "state": list(joints), "unit": "rad", "cameras": {FRONT: SIZE}}
    metadata = {"policy": "slow", "images": {FRONT: list(SIZE)}, "replan_after": 6, "contract": contract}

    def on_listening(port: int) -> None:
        ports.append(port)
        listening.set()

    async def run() -> None:
        server = PolicyServer(policy, inputs, metadata)
        await server.run("127.0.0.1", 0, asyncio.Event(), on_listening=on_listening)

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    listening.wait()
    return ports[0]


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the run")
    seconds = parser.parse_args().seconds
    os.environ.update(own_graph())
    from sensor_msgs.msg import JointState

    from waldo import ros

    robot = load_robot("so101")
    port = serve(Slow(robot.lower, robot.upper), robot.joint_names)
    waldo = [sys.executable, "-m", "waldo"]
    commands: list[tuple[int, np.ndarray]] = []

    def on_command(message: Any) -> None:
        position = np.array(message.position) if len(message.name) else np.full(len(robot.joints), np.nan)
        commands.append((ros.stamp_to_ns(message.header.stamp), position))

    scene = ["--task", "pick", "--camera-size", *map(str, SIZE)]
    twin = subprocess.Popen([*waldo, "robot", "so101", *scene], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with ros.join_graph("watcher", "so101") as graph:
            graph.subscribe(JointState, "joint_commands", on_command, ros.stream_qos(1000))
            options = ["--seconds", str(seconds), "--rate", str(RATE_HZ), "--replan", "0.2"]
            policy = subprocess.Popen(
                [*waldo, "run", "--server", f"ws://127.0.0.1:{port}", *options], stderr=subprocess.PIPE, text=True
            )
            while policy.poll() is None:
                graph.spin_for(0.05)
            summary = policy.stderr.read() if policy.stderr is not None else ""
    finally:
        twin.terminate()
        twin.wait()
    velocity = np.array([joint.velocity for joint in robot.joints])
    acceleration = np.array([joint.acceleration for joint in robot.joints])
    position = np.array([position for _, position in commands])
    speed = np.diff(position, axis=0) * RATE_HZ
    change = np.diff(speed, axis=0) * RATE_HZ
    gaps_ms = np.diff([stamp for stamp, _ in commands]) / 1e6
    found = re.search(r"(\d+) commands, (\d+) control cycles missed", summary)
    chunks = re.search(r"(\d+) chunks", summary)
    if found is None or chunks is None:
        raise SystemExit(summary)
    rows = {
        "commands, control cycles missed": f"{found[1]}, {found[2]}",
        "chunks": chunks[1],
        "largest speed, of the limit": f"{np.nanmax(np.abs(speed) / velocity):.2f}",
        "largest change of speed, of the limit": f"{np.nanmax(np.abs(change) / acceleration):.2f}",
        "interval between commands, median": f"{np.median(gaps_ms):.1f} ms",
        "interval between commands, 99 %": f"{np.percentile(gaps_ms, 99):.1f} ms",
    }
    title = f"{seconds:g} s at {RATE_HZ} Hz, inference {INFERENCE_S:g} s, chunks of {ACTIONS / FPS:g} s"
    out().print(f"{machine()}\n\n| {title} | |\n|---|---|")
    for name, value in rows.items():
        out().print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
