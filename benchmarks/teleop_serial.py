"""A leader arm and its follower over two serial ports: how often, how late, and how much of a processor?

Usage: uv run python benchmarks/teleop_serial.py [--seconds 30]

Both arms are emulated STS3215 servos on pseudo-terminals, with the time that frames need on a 1 Mbit/s wire. A hand
swings one joint of the leader; the follower's servos write down when which goals came. Late is how long ago the leader
was where the follower is told to go, while it moves faster than half its top speed. Then the hand jerks: the joint is
suddenly elsewhere, at random instants, and counted is the time until nine tenths of the step were commanded. waldo's
way goes through two ROS nodes, the safety chain and the motion limiter, and reads every motor's load, voltage,
temperature and current; LeRobot's through one loop that reads positions and has no limiter. Both run as their users run
them, one after the other, on the same ports.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from workload import print_table

from waldo import console
from waldo.robots.description import load_robot
from waldo.robots.drivers import calibration
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.emulated_leader import EmulatedLeader
from waldo.sim.emulation.feetech import FeetechServos
from waldo.typing import Array

JOINT = 0
"""The joint that is moved: shoulder_pan, which no gravity bends."""
SWING_RAD, SWING_HZ = 0.4, 0.5
"""How far and how often it swings: up to 1.3 rad/s."""
JERK_RAD = 0.06
"""How far it jerks: 39 counts."""
PATIENCE_S = 120.0
"""How long a program may take until the follower gets its first goal [s]."""


@dataclass
class Moves:
    """A hand that swings a joint or jerks it, and remembers where it was when."""

    home: Array
    rng: random.Random
    kind: str = ""
    """swing, jerk, or nothing: it keeps still."""
    track: list[tuple[int, float]] = field(default_factory=list)
    """When the leader was how far from home [ns of time.monotonic_ns, rad]; of jerks, only their instants."""
    _next_s: float = 0.0
    _began_s: float = 0.0

    def begin(self, kind: str) -> None:
        """Begin another motion."""
        self.track, self._began_s, self._next_s = [], time.monotonic(), 0.0
        self.kind = kind

    def __call__(self, seconds: float) -> Array:
        """Return where the leader is."""
        away = 0.0
        if self.kind == "swing":
            away = SWING_RAD * np.sin(2 * np.pi * SWING_HZ * (time.monotonic() - self._began_s))
            self.track.append((time.monotonic_ns(), away))
        elif self.kind == "jerk":
            if seconds >= self._next_s:
                last = self.track[-1][1] if self.track else 0.0
                self.track.append((time.monotonic_ns(), 0.0 if last else JERK_RAD))
                self._next_s = seconds + self.rng.uniform(0.25, 0.45)
            away = self.track[-1][1]
        at = self.home.copy()
        at[JOINT] += away
        return at


@dataclass(frozen=True)
class Result:
    """What one program came to."""

    rate_hz: float
    late_ms: Array
    """How far behind a swinging leader."""
    whole_ms: Array
    """Until nine tenths of a jerk."""
    cpu: float
    """Processor seconds a second, of all its processes."""


type Goals = Sequence[tuple[int, tuple[int, ...]]]


def columns(goals: Goals) -> tuple[Array, Array]:
    """Return when goals came [ns], and the joint's angle in them [rad], but for a constant."""
    return np.array([at for at, _ in goals], dtype=float), np.array([g[JOINT] for _, g in goals]) * 2 * np.pi / 4096


def behind(track: Sequence[tuple[int, float]], goals: Goals) -> Array:
    """Return how long before each goal the swinging leader was there [ms]."""
    times, angles = columns(goals)
    led_at, led = (np.array(column, dtype=float) for column in zip(*track, strict=True))
    # Both swing about the same middle: their calibrations differ by a constant.
    angles = angles - (angles.max() + angles.min()) / 2 + (led.max() + led.min()) / 2
    speed = np.gradient(led, led_at / 1e9)
    top = 2 * np.pi * SWING_HZ * SWING_RAD
    found: list[float] = []
    for at, angle in zip(times, angles, strict=True):
        # Look back over a sixth of a period: there the leader passed each angle once.
        inside = (led_at <= at) & (led_at > at - 1e9 / SWING_HZ / 6)
        if inside.sum() < 10 or np.abs(speed[inside]).min() < top / 2:
            continue
        order = np.argsort(led[inside])
        passed = float(np.interp(angle, led[inside][order], led_at[inside][order]))
        found.append((at - passed) / 1e6)
    return np.array(found)


def to_nine_tenths(track: Sequence[tuple[int, float]], goals: Goals) -> Array:
    """Return how long after each jerk nine tenths of it were commanded [ms]; jerks that were cut short are left out."""
    times, angles = columns(goals)
    found: list[float] = []
    for (at, to), (end, _) in pairwise(track):
        before = int(np.searchsorted(times, at)) - 1
        inside = slice(before + 1, int(np.searchsorted(times, end)))
        if before < 0 or inside.start >= inside.stop:
            continue
        done = (angles[inside] - angles[before]) * (1 if to else -1) >= 0.9 * JERK_RAD
        if done.any():
            found.append((times[inside][int(done.argmax())] - at) / 1e6)
    return np.array(found)


def run(
    name: str,
    commands: Sequence[Sequence[str]],
    follower: FeetechServos,
    plant: EmulatedJoints,
    hand: Moves,
    seconds: float,
    environment: dict[str, str],
) -> Result:
    """Run a program for a while and return what its follower was told."""
    # The program before may have let the arm fall.
    with plant.lock:
        plant.place(plant.robot.home)
        follower.lay_down()
    follower.goals.clear()
    hand.begin("")
    follower.log = True
    processes = [
        subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for words in commands
    ]
    said = [b""] * len(processes)

    def drain(k: int) -> None:
        for line in processes[k].stdout or ():
            said[k] = (said[k] + line)[-4000:]

    drains = [threading.Thread(target=drain, args=(k,)) for k in range(len(processes))]
    for thread in drains:
        thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while len(follower.goals) < 20:
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            raise SystemExit(f"{name} does not drive the follower:\n" + b"\n".join(said).decode(errors="replace"))
        time.sleep(0.1)
    time.sleep(3)
    used = [psutil.Process(process.pid) for process in processes]
    before = sum(sum(p.cpu_times()[:2]) for p in used)
    goals: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
    tracks: dict[str, list[tuple[int, float]]] = {}
    started = time.monotonic()
    for kind in ("swing", "jerk"):
        follower.goals.clear()
        hand.begin(kind)
        time.sleep(seconds / 2)
        goals[kind], tracks[kind] = list(follower.goals), list(hand.track)
        hand.begin("")
        time.sleep(0.5)
    took = time.monotonic() - started
    cpu = sum(sum(p.cpu_times()[:2]) for p in used) - before
    follower.log = False
    for process in processes:
        process.send_signal(2)
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    for thread in drains:
        thread.join(20)
    told = b"\n".join(said).decode(errors="replace")
    if "stopped:" in told or "holding: no" in told:
        raise SystemExit(f"{name} stopped:\n{told}")
    swings = [at for at, _ in goals["swing"]]
    return Result(
        (len(swings) - 1) / (swings[-1] - swings[0]) * 1e9,
        behind(tracks["swing"], goals["swing"]),
        to_nine_tenths(tracks["jerk"], goals["jerk"]),
        cpu / took,
    )


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each program is measured")
    parser.add_argument("--rounds", type=int, default=2, help="how often, one after the other")
    args = parser.parse_args()
    robot = load_robot("so101")
    hand = Moves(robot.home.copy(), random.Random(0))
    plant = EmulatedJoints(robot)
    with (
        tempfile.TemporaryDirectory() as folder,
        FeetechServos(EmulatedLeader(load_robot("so101_leader"), hand)) as leader,
        FeetechServos(plant) as follower,
    ):
        for servos in (leader, follower):
            reader = FeetechDriver(robot, port=servos.port, torque=False)
            reader.open()
            calibration.save(Path(folder) / "bench.json", robot.joint_names, reader.stored())
            reader.disconnect()
        waldo = [sys.executable, "-m", "waldo"]
        environment = {"ROS_DOMAIN_ID": "91", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "HF_HUB_OFFLINE": "1"}
        programs: dict[str, list[list[str]]] = {}
        for rate in (100, 200):
            state = f"--heat-state={folder}/heat.json"
            programs[f"waldo, {rate} Hz"] = [
                [*waldo, "robot", "so101", "--driver=feetech", f"--port={follower.port}", f"--rate={rate}", state],
                [*waldo, "teleop", "leader", f"--port={leader.port}", f"--rate={rate}"],
            ]
        script = str(Path(sys.executable).with_name("lerobot-teleoperate"))
        for rate in (100, 200):
            programs[f"lerobot-teleoperate, {rate} Hz"] = [
                [
                    *(script, "--robot.type=so101_follower", f"--robot.port={follower.port}", "--robot.id=bench"),
                    *(f"--robot.calibration_dir={folder}", "--teleop.type=so101_leader"),
                    *(f"--teleop.port={leader.port}", "--teleop.id=bench", f"--teleop.calibration_dir={folder}"),
                    f"--fps={rate}",
                ]
            ]
        results: dict[str, list[Result]] = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, commands in programs.items():
                results[name].append(run(name, commands, follower, plant, hand, args.seconds, environment))
                last = results[name][-1]
                console.err().print(f"{name}: {last.rate_hz:.1f} Hz, late {np.median(last.late_ms):.1f} ms")
    rows: list[list[str]] = []
    for name, found in results.items():
        late, whole = (np.concatenate([getattr(r, key) for r in found]) for key in ("late_ms", "whole_ms"))
        rows.append(
            [
                name,
                f"{np.median([r.rate_hz for r in found]):.1f}",
                f"{np.median(late):.1f} / {np.quantile(late, 0.99):.1f}",
                f"{np.median(whole):.1f} / {np.quantile(whole, 0.99):.1f}",
                f"{len(late)}, {len(whole)}",
                f"{np.median([r.cpu for r in found]):.2f}",
            ]
        )
    head = ["program", "goals/s", "late p50 / p99 ms", "jerk p50 / p99 ms", "goals, jerks", "CPU s/s"]
    print_table("Leader to follower", head, rows)


if __name__ == "__main__":
    main()
