"""Faults of a policy while it drives a robot over DDS: each must end in a hold within a control cycle.

Usage: uv run python benchmarks/policy_faults.py [--faults 100]

The robot (`waldo robot`, the simulated twin) and the policy (`waldo run --server`) are processes of their own. This
process is the policy server and the camera, and causes the faults: the server's connection is cut, an answer contains
NaN, the camera stops, the policy process is stopped. It subscribes to the applied commands, whose source is "hold"
from the first cycle in which the robot stands still. Policies for permuted joints and in another unit are refused
before the robot moves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from workload import machine

from waldo.console import out
from waldo.process import own_graph
from waldo.robots.description import load_robot
from waldo.train.runner.policy_loop import LoopConfig
from waldo.train.runner.robot_policy import ContractError, robot_policy
from waldo.train.serving.inputs import PolicyInputs
from waldo.train.serving.server import PolicyServer

FRONT, SIZE, FPS, ACTIONS = "observation.images.front", (64, 48), 30, 30
CYCLE_S = 1 / 50 + 1 / 60
"""A cycle of the policy and one of the robot [s]."""
WATCHDOG_S = 0.2
TRANSPORT_S = 0.01
"""Allowance for messages between the processes of a busy machine [s]."""


class Swing:
    """A policy that swings the first joint about its present position; it can answer NaN."""

    def __init__(self) -> None:
        self.broken = False
        self.broken_s = 0.0

    def predict(self, observations: Sequence[Any]) -> np.ndarray:
        """Return a chunk for each observation."""
        chunks = np.stack([np.tile(one["observation.state"], (ACTIONS, 1)) for one in observations]).astype(float)
        chunks[:, :, 0] += 0.05 * np.sin(np.arange(ACTIONS) / FPS * 2 * np.pi)
        return chunks


class Answers(PolicyServer):
    """A server whose answers can contain NaN, which its own check would refuse."""

    swing: Swing

    async def _answer(self, data: str | bytes) -> bytes | str:
        answer = await super()._answer(data)
        if self.swing.broken and isinstance(answer, bytes):
            from waldo.train.serving.wire import pack, unpack

            message = unpack(answer)
            message["actions"] = np.full_like(message["actions"], np.nan)
            self.swing.broken, self.swing.broken_s = False, time.monotonic()
            return pack(message)
        return answer


def metadata(joints: Sequence[str], unit: str = "rad") -> dict[str, Any]:
    """Return what the server sends when a client connects."""
    contract = {"fps": FPS, "joints": list(joints), "state": list(joints), "unit": unit, "cameras": {FRONT: SIZE}}
    return {"policy": "swing", "images": {FRONT: list(SIZE)}, "replan_after": 5, "contract": contract}


class Server:
    """The policy server on a thread, whose connections can be cut."""

    def __init__(self, joints: Sequence[str]) -> None:
        self.swing, self.joints, self.port = Swing(), joints, 0
        self.start()

    def start(self) -> None:
        """Listen, at the same port as before."""
        listening = threading.Event()
        inputs = PolicyInputs(vectors={"observation.state": len(self.joints)}, images={FRONT: SIZE})
        self.server = Answers(self.swing, inputs, metadata(self.joints))
        self.server.swing = self.swing

        def on_listening(port: int) -> None:
            self.port = port
            listening.set()

        async def serve() -> None:
            self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
            await self.server.run("127.0.0.1", self.port, self.stop, on_listening=on_listening)

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self.thread.start()
        listening.wait()

    def cut(self) -> float:
        """Cut all connections, and listen again; return when."""
        at_s = time.monotonic()
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.start()
        return at_s


@dataclass
class Robot:
    """What is known of the robot from its applied commands."""

    source: str = ""
    held_s: float = 0.0
    """Time of the first cycle of the present hold [s]."""
    moved: int = 0
    """Cycles in which a policy commanded."""
    events: list[str] = field(default_factory=list[str])

    def on_applied(self, message: Any) -> None:
        """Note who commands."""
        source = message.header.frame_id
        if source == "hold" and self.source != "hold":
            self.held_s = time.monotonic()
        self.moved += source == "policy"
        self.source = source


def main() -> None:
    """Cause the faults and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, help="faults of each kind")
    count = parser.parse_args().faults
    os.environ.update(own_graph())
    from sensor_msgs.msg import CompressedImage, JointState

    from waldo import ros

    joints = load_robot("so101").joint_names
    server, robot, jpeg = Server(joints), Robot(), cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    limits = LoopConfig()
    waldo = [sys.executable, "-m", "waldo"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    children = [subprocess.Popen([*waldo, "robot", "so101", "--task", "pick", "--no-cameras"], **quiet)]
    found: dict[str, list[float]] = {}
    with ros.join_graph("faults", "so101") as graph:
        camera = graph.node.create_publisher(CompressedImage, "cameras/front/image_raw/compressed", ros.stream_qos(2))
        graph.subscribe(JointState, "joint_commands_sent", robot.on_applied, ros.stream_qos())
        shown = {"on": True, "due_s": 0.0, "last_s": 0.0}

        def spin(done: Callable[[], bool], seconds: float = 60.0) -> None:
            end_s = time.monotonic() + seconds
            while not done():
                now_s = time.monotonic()
                if now_s > end_s:
                    raise SystemExit("the robot did not react within a minute")
                if shown["on"] and now_s >= shown["due_s"]:
                    image = CompressedImage(format="jpeg", data=jpeg)
                    image.header.stamp = ros.ns_to_stamp(time.time_ns())
                    camera.publish(image)
                    shown["last_s"], shown["due_s"] = now_s, now_s + 1 / 30
                graph.spin_once(0.002)

        def following() -> bool:
            return robot.source == "policy"

        def steady(seconds: float = 0.3) -> None:
            spin(following)
            end_s = time.monotonic() + seconds
            spin(lambda: time.monotonic() > end_s or not following())
            spin(following)

        def reaction(cause: Callable[[], float], limit_s: float, after: Callable[[], None] = lambda: None) -> float:
            """Return the time from the end of a limit to the hold [s]."""
            steady()
            caused_s = cause()
            spin(lambda: robot.source == "hold")
            late_s = robot.held_s - caused_s - limit_s
            after()
            return late_s

        spin(lambda: robot.source != "")
        children.append(
            subprocess.Popen([*waldo, "run", "--server", f"ws://127.0.0.1:{server.port}", "--task", "swing"], **quiet)
        )
        policy = children[1]

        def answer_nan() -> float:
            server.swing.broken = True
            spin(lambda: not server.swing.broken)
            return server.swing.broken_s

        def stop_camera() -> float:
            shown["on"] = False
            return shown["last_s"]

        def start_camera() -> None:
            shown["on"] = True

        def stop_policy() -> float:
            policy.send_signal(signal.SIGSTOP)
            return time.monotonic()

        def continue_policy() -> None:
            policy.send_signal(signal.SIGCONT)

        kinds: dict[str, tuple[Callable[[], float], float, Callable[[], None]]] = {
            "server killed": (server.cut, 0.0, lambda: None),
            "NaN action": (answer_nan, 0.0, lambda: None),
            "stale camera": (stop_camera, limits.max_image_age, start_camera),
            "policy process stopped": (stop_policy, WATCHDOG_S, continue_policy),
        }
        try:
            for name, (cause, limit_s, after) in kinds.items():
                found[name] = [reaction(cause, limit_s, after) for _ in range(count)]
        finally:
            for child in reversed(children):
                child.send_signal(signal.SIGCONT)
                child.terminate()
                child.wait()
    out().print(
        f"{machine()}\n\n| fault | limit | held in time | median after it | latest after it |\n|---|---|---|---|---|"
    )
    for name, late in found.items():
        limit_s = kinds[name][1]
        good = sum(one <= CYCLE_S + TRANSPORT_S for one in late)
        median, latest = (1000 * value for value in (np.median(late), max(late)))
        out().print(f"| {name} | {limit_s:g} s | {good} of {count} | {median:.0f} ms | {latest:.0f} ms |")
    refused = {"permuted joints": metadata([*joints[1:], joints[0]]), "another unit": metadata(joints, "deg")}
    for name, values in refused.items():
        good = sum(_is_refused(values) for _ in range(count))
        out().print(f"| {name} | before it moves | {good} of {count} | | |")


def _is_refused(values: dict[str, Any]) -> bool:
    try:
        robot_policy(values, "ws://server").require_robot(load_robot("so101"), {FRONT: "front"})
    except ContractError:
        return True
    return False


if __name__ == "__main__":
    main()
