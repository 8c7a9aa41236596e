"""Latency of a leader arm and its follower at 200 Hz while three cameras stream on the same machine, beside LeRobot.

Usage: uv run python benchmarks/teleop_cameras.py [--seconds 30] [--rounds 2]

Leader and follower are simulated arms in processes of their own, behind the protocol of their STS3215 servos, on
pseudo-terminals with the transfer times of a 1 Mbit/s bus; one joint of the leader swings. The robot node decodes and
publishes two network cameras of 640x480, a third one is published by a program of its own, and `waldo operate`
receives all three at 30 Hz. waldo runs device and robot in one process. The latency is the time since the leader was
at the position that the follower is commanded to. `lerobot-teleoperate` has no cameras here.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from emulated_arms import Arms, calibrate, emulated_arms
from teleop_serial import START_TIMEOUT_S, latencies_ms
from workload import print_table

from waldo.sim.emulation.mjpeg import MjpegServer
from waldo.typing import Array

RATE_HZ = 200
"""Rate of the control cycle [Hz]."""
DOMAIN = "92"
"""ROS domain of the benchmark."""
THIRD = """
import sys, time, cv2, numpy as np
from waldo import ros
with ros.join_graph("camera", "so101") as graph:
    from sensor_msgs.msg import CompressedImage
    topic = "cameras/overhead/image_raw/compressed"
    publisher = graph.node.create_publisher(CompressedImage, topic, ros.stream_qos())
    noise = cv2.resize(np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8), (640, 480))
    start = time.monotonic()
    for tick in range(10**9):
        data = cv2.imencode(".jpg", np.roll(noise, tick, 1))[1].tobytes()
        message = CompressedImage(format="jpeg", data=data)
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        publisher.publish(message)
        time.sleep(max(0.0, start + (tick + 1) / 30 - time.monotonic()))
"""
"""A program that publishes a camera."""


@contextmanager
def running(commands: Sequence[Sequence[str]], folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run programs until the block ends; the last one is stopped first."""
    logs = [(folder / f"program{k}.log").open("wb") for k in range(len(commands))]
    programs = [
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for words, log in zip(commands, logs, strict=True)
    ]
    try:
        yield programs
    finally:
        for program in reversed(programs):
            program.send_signal(signal.SIGINT)
            try:
                program.wait(30)
            except subprocess.TimeoutExpired:
                program.kill()


def measure(arms: Arms, seconds: float, log: Path) -> tuple[float, Array]:
    """Return the rate of the commands [Hz] and the latencies [ms] while the leader swings."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while len(arms.goals()) < 50:
        if time.monotonic() > deadline:
            raise SystemExit(f"no commands arrive; the output of the robot:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
    time.sleep(3)
    arms.begin("swing")
    time.sleep(seconds)
    found, track = arms.goals(), arms.track()
    arms.begin("")
    at = [stamp for stamp, _ in found]
    if len(at) < 2:
        raise SystemExit(f"the robot does not follow; its output:\n{log.read_text()[-3000:]}")
    return (len(at) - 1) / (at[-1] - at[0]) * 1e9, latencies_ms(track, found)


def serve_cameras(server: MjpegServer, ended: threading.Event) -> None:
    """Serve two cameras at 30 Hz."""
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    images = [cv2.imencode(".jpg", np.roll(cv2.resize(noise, (640, 480)), 8 * k, 1))[1].tobytes() for k in range(30)]
    for tick in range(10**9):
        if ended.wait(1 / 30):
            return
        for name in ("front", "wrist"):
            server.put(name, images[tick % len(images)])


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=30.0, help="measured duration of each program [s]")
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds")
    args = parser.parse_args()
    os.environ |= {"ROS_DOMAIN_ID": DOMAIN, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "HF_HUB_OFFLINE": "1"}
    ended = threading.Event()
    with (
        tempfile.TemporaryDirectory() as name,
        emulated_arms() as arms,
        MjpegServer(["front", "wrist"]) as server,
    ):
        folder = Path(name)
        threading.Thread(target=serve_cameras, args=(server, ended), daemon=True).start()
        calibrate(arms, folder / "bench.json")
        waldo = [sys.executable, "-m", "waldo"]
        device = ["--device=leader", "--device-option", f"port={arms.leader_port}", f"--rate={RATE_HZ}"]
        state = f"--heat-state={folder}/heat.json"
        cameras = [f"--camera={one}={server.urls[one]}" for one in ("front", "wrist")]
        serial = [*waldo, "robot", "so101", "--driver=feetech", f"--port={arms.follower_port}", state]
        beside = [
            [*waldo, "operate", str(folder / "set"), "--port=8655"],
            [sys.executable, "-c", THIRD],
        ]
        script = str(Path(sys.executable).with_name("lerobot-teleoperate"))
        lerobot = [
            *(script, "--robot.type=so101_follower", f"--robot.port={arms.follower_port}", "--robot.id=bench"),
            *(f"--robot.calibration_dir={folder}", "--teleop.type=so101_leader", f"--teleop.port={arms.leader_port}"),
            *("--teleop.id=bench", f"--teleop.calibration_dir={folder}", f"--fps={RATE_HZ}"),
        ]
        programs: dict[str, list[list[str]]] = {
            "waldo, 3 cameras": [[*serial, *cameras, *device], *beside],
            "waldo, no camera": [[*serial, *device]],
            "lerobot-teleoperate, no camera": [lerobot],
        }
        results: dict[str, list[tuple[float, Array]]] = {title: [] for title in programs}
        for _ in range(args.rounds):
            for title, commands in programs.items():
                arms.prepare()
                log = folder / "program0.log"
                with running(commands, folder):
                    results[title].append(measure(arms, args.seconds, log))
        ended.set()
    rows: list[list[str]] = []
    for title, found in results.items():
        latency = np.concatenate([one for _, one in found])
        rate_hz = float(np.median([rate for rate, _ in found]))
        figures = f"{np.median(latency):.1f} / {np.quantile(latency, 0.99):.1f}"
        rows.append([title, f"{rate_hz:.1f}", figures, str(len(latency))])
    print_table("Leader to follower at 200 Hz", ["program", "commands/s", "latency p50 / p99 ms", "commands"], rows)


if __name__ == "__main__":
    main()
