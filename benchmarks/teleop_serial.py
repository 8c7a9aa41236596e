"""Rate, latency and processor time of a leader arm and its follower on two serial ports, beside LeRobot.

Usage: uv run python benchmarks/teleop_serial.py [--seconds 30] [--rounds 2] [--programs lerobot]

Both arms are emulated, each in a process of its own: STS3215 servos on a pseudo-terminal with the transfer times of a
1 Mbit/s bus. First, one joint of
the leader swings; the latency is the time since the leader was at the position that the follower is commanded to,
measured while the leader moves faster than half its maximum speed. Then the joint makes steps at random times; the
response time is the time until nine tenths of a step have been commanded. waldo runs as two ROS nodes with the safety
chain and the motion limiter, and reads load, voltage, temperature and current of every motor; LeRobot runs as one loop
that reads positions, without a limiter. Both run with their own commands, one after the other, on the same ports.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from emulated_arms import JOINT, STEP_RAD, SWING_HZ, SWING_RAD, Arms, Goals, Track, calibrate, emulated_arms
from workload import print_table

from waldo import console
from waldo.typing import Array

SETTLE_S = 1.0
"""Time after the start of the swing that is not measured [s]."""
START_TIMEOUT_S = 120.0
"""Timeout for the first goal of the follower [s]."""


@dataclass(frozen=True)
class Result:
    """Measurements of one program."""

    rate_hz: float
    latency_ms: Array
    """Latency behind a swinging leader [ms]."""
    response_ms: Array
    """Time until nine tenths of a step were commanded [ms]."""
    cpu: float
    """Processor seconds per second, of all its processes."""


def columns(goals: Goals) -> tuple[Array, Array]:
    """Return the times of goals [ns] and the joint's angles up to a constant [rad], each of shape (goals,)."""
    return np.array([at for at, _ in goals], dtype=float), np.array([g[JOINT] for _, g in goals]) * 2 * np.pi / 4096


def latencies_ms(track: Track, goals: Goals) -> Array:
    """Return the time since the swinging leader was at each goal, shape (goals,) [ms]."""
    times, angles = columns(goals)
    led_at, led = (np.array(column, dtype=float) for column in zip(*track, strict=True))
    # Both swing around the same center: their calibrations differ by a constant.
    angles = angles - (angles.max() + angles.min()) / 2 + (led.max() + led.min()) / 2
    speed = np.gradient(led, led_at / 1e9)
    top = 2 * np.pi * SWING_HZ * SWING_RAD
    found: list[float] = []
    # The swing starts at full speed, to which the motion limiter accelerates the follower first.
    settled = times > led_at[0] + SETTLE_S * 1e9
    for at, angle in zip(times[settled], angles[settled], strict=True):
        # In the last sixth of a period the leader passed each angle once.
        inside = (led_at <= at) & (led_at > at - 1e9 / SWING_HZ / 6)
        if inside.sum() < 10 or np.abs(speed[inside]).min() < top / 2:
            continue
        order = np.argsort(led[inside])
        passed = float(np.interp(angle, led[inside][order], led_at[inside][order]))
        found.append((at - passed) / 1e6)
    return np.array(found)


def responses_ms(track: Track, goals: Goals) -> Array:
    """Return the time from each step until nine tenths of it were commanded [ms]; incomplete steps are omitted."""
    times, angles = columns(goals)
    found: list[float] = []
    for (at, to), (end, _) in pairwise(track):
        before = int(np.searchsorted(times, at)) - 1
        inside = slice(before + 1, int(np.searchsorted(times, end)))
        if before < 0 or inside.start >= inside.stop:
            continue
        done = (angles[inside] - angles[before]) * (1 if to else -1) >= 0.9 * STEP_RAD
        if done.any():
            found.append((times[inside][int(done.argmax())] - at) / 1e6)
    return np.array(found)


def run(
    name: str,
    commands: Sequence[Sequence[str]],
    arms: Arms,
    seconds: float,
    environment: dict[str, str],
) -> Result:
    """Run a program for a while and return its measurements."""
    arms.prepare()
    processes = [
        subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for words in commands
    ]
    output = [b""] * len(processes)

    def drain(k: int) -> None:
        for line in processes[k].stdout or ():
            output[k] = (output[k] + line)[-4000:]

    drains = [threading.Thread(target=drain, args=(k,)) for k in range(len(processes))]
    for thread in drains:
        thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while len(arms.goals()) < 20:
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            raise SystemExit(
                f"{name} sends no goals to the follower; its output:\n" + b"\n".join(output).decode(errors="replace")
            )
        time.sleep(0.1)
    time.sleep(3)
    used = [psutil.Process(process.pid) for process in processes]
    before = sum(sum(p.cpu_times()[:2]) for p in used)
    goals: dict[str, Goals] = {}
    tracks: dict[str, Track] = {}
    started = time.monotonic()
    for kind in ("swing", "step"):
        arms.begin(kind)
        time.sleep(seconds / 2)
        goals[kind], tracks[kind] = arms.goals(), arms.track()
        arms.begin("")
        time.sleep(0.5)
    elapsed_s = time.monotonic() - started
    cpu = sum(sum(p.cpu_times()[:2]) for p in used) - before
    for process in processes:
        process.send_signal(2)
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    for thread in drains:
        thread.join(20)
    text = b"\n".join(output).decode(errors="replace")
    if "stopped:" in text or "holding: no" in text:
        raise SystemExit(f"{name} stopped the robot; its output:\n{text}")
    swings = [at for at, _ in goals["swing"]]
    return Result(
        (len(swings) - 1) / (swings[-1] - swings[0]) * 1e9,
        latencies_ms(tracks["swing"], goals["swing"]),
        responses_ms(tracks["step"], goals["step"]),
        cpu / elapsed_s,
    )


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0, help="measured duration of each program [s]")
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds")
    parser.add_argument("--programs", default="", help="only programs whose name contains this text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, emulated_arms() as arms:
        calibrate(arms, Path(folder) / "bench.json")
        waldo = [sys.executable, "-m", "waldo"]
        environment = {"ROS_DOMAIN_ID": "91", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "HF_HUB_OFFLINE": "1"}
        programs: dict[str, list[list[str]]] = {}
        for rate in (100, 200):
            state = f"--heat-state={folder}/heat.json"
            programs[f"waldo, {rate} Hz"] = [
                [*waldo, "robot", "so101", "--driver=feetech", f"--port={arms.follower_port}", f"--rate={rate}", state],
                [*waldo, "teleop", "leader", f"--port={arms.leader_port}", f"--rate={rate}"],
            ]
            programs[f"waldo in one process, {rate} Hz"] = [
                [*programs[f"waldo, {rate} Hz"][0], "--device=leader", "--device-option", f"port={arms.leader_port}"]
            ]
        script = str(Path(sys.executable).with_name("lerobot-teleoperate"))
        for rate in (100, 200):
            programs[f"lerobot-teleoperate, {rate} Hz"] = [
                [
                    *(script, "--robot.type=so101_follower", f"--robot.port={arms.follower_port}", "--robot.id=bench"),
                    *(f"--robot.calibration_dir={folder}", "--teleop.type=so101_leader"),
                    *(f"--teleop.port={arms.leader_port}", "--teleop.id=bench", f"--teleop.calibration_dir={folder}"),
                    f"--fps={rate}",
                ]
            ]
        programs = {name: commands for name, commands in programs.items() if args.programs in name}
        results: dict[str, list[Result]] = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, commands in programs.items():
                results[name].append(run(name, commands, arms, args.seconds, environment))
                last = results[name][-1]
                console.err().print(f"{name}: {last.rate_hz:.1f} Hz, latency {np.median(last.latency_ms):.1f} ms")
    rows: list[list[str]] = []
    for name, found in results.items():
        latency = np.concatenate([result.latency_ms for result in found])
        response = np.concatenate([result.response_ms for result in found])
        rows.append(
            [
                name,
                f"{np.median([r.rate_hz for r in found]):.1f}",
                f"{np.median(latency):.1f} / {np.quantile(latency, 0.99):.1f}",
                f"{np.median(response):.1f} / {np.quantile(response, 0.99):.1f}",
                f"{len(latency)}, {len(response)}",
                f"{np.median([r.cpu for r in found]):.2f}",
            ]
        )
    head = ["program", "goals/s", "latency p50 / p99 ms", "step p50 / p99 ms", "goals, steps", "CPU s/s"]
    print_table("Leader to follower", head, rows)


if __name__ == "__main__":
    main()
