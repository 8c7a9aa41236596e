"""Response times of the fleet dashboard under load: many robots, many open pages, and a scraping Prometheus.

Usage: uv run python benchmarks/fleet_load.py [--robots 300] [--browsers 500] [--seconds 30]

The robots are serialized `motors` messages that a thread of the server deserializes and stores, twice per second
and robot as the ROS listener does; the transport of DDS is not included. The browsers are a second process that reads
their compressed event streams. This process asks for `/healthz` and measures the time until the response.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import math
import selectors
import subprocess
import sys
import threading
import time
from statistics import median
from typing import Any

PROBE_S = 0.05
"""Interval between two requests of `/healthz` [s]."""

SCRAPE_S = 5.0
"""Interval between two requests of `/metrics` [s]."""

HISTORY_S = 600
"""Length of the histories that are stored before the start [s]."""

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def messages(robots: int) -> dict[str, bytes]:
    """Return topic -> serialized message of each robot."""
    import numpy as np
    from rclpy.serialization import serialize_message

    from waldo.robots import motor_readings
    from waldo.robots.diagnostics import to_message

    found: dict[str, bytes] = {}
    generator = np.random.default_rng(0)
    for n in range(robots):
        values: dict[str, Any] = {
            one.attribute: generator.uniform(20, 60, len(JOINTS)) for one in motor_readings.MOTOR_QUANTITIES
        }
        readings = motor_readings.MotorReadings(**values, notes=("",) * len(JOINTS))
        message = to_message(f"hall/arm{n}", JOINTS, JOINTS, readings, time.time_ns())
        found[f"/hall/arm{n}/motors"] = serialize_message(message)
    return found


def measure_turns() -> list[float]:
    """Return a list to which the CPU time of every turn of an event loop in this process is appended [s]."""
    turns: list[float] = []
    begin = [math.nan]
    select = selectors.DefaultSelector.select

    def measured(self: Any, timeout: float | None = None) -> Any:
        turns.append(time.thread_time() - begin[0])
        ready = select(self, timeout)
        begin[0] = time.thread_time()
        return ready

    selectors.DefaultSelector.select = measured  # type: ignore[method-assign]
    return turns


def serve(robots: int) -> None:
    """Serve the robots and print the port; at the end, the CPU time and that of the turns of the event loop."""
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.serialization import deserialize_message

    from waldo.fleet import store as module
    from waldo.fleet.listener import READ_PERIOD_S, Listener
    from waldo.fleet.server import Site
    from waldo.fleet.server import serve as serve_site
    from waldo.web.listening import listen

    store = module.FleetStore()
    serialized = messages(robots)
    started = time.monotonic()
    clock = [started - HISTORY_S]
    filling = Listener(store, lambda: clock[0])
    parsed = {topic: deserialize_message(data, DiagnosticArray) for topic, data in serialized.items()}
    while clock[0] < started:
        for topic, message in parsed.items():
            filling.add_motors(topic, message)
        clock[0] += module.HISTORY_PERIOD_S
    listener = Listener(store)
    site = Site(store=store)

    def receive() -> None:
        while not site.stopping.is_set():
            # Messages arrive spread over the period, as from independent robots.
            for topic, data in serialized.items():
                begin = time.monotonic()
                listener.add_motors(topic, deserialize_message(data, DiagnosticArray))
                time.sleep(max(0.0, READ_PERIOD_S / robots - (time.monotonic() - begin)))

    threading.Thread(target=receive, daemon=True).start()
    turns = measure_turns()
    with listen("127.0.0.1", 0) as listening:
        print(listening.getsockname()[1], flush=True)
        serve_site(site, listening)
    turns = [turn for turn in turns if not math.isnan(turn)]
    print(time.process_time(), quantile(turns, 0.999), max(turns), flush=True)


async def browse(port: int, browsers: int, seconds: float) -> None:
    """Read event streams; print the received bytes and the longest time between two parts of one stream."""
    total, longest, refused = 0, 0.0, 0
    end = time.monotonic() + seconds

    async def read(place: int) -> None:
        nonlocal total, longest, refused
        await asyncio.sleep(place * 0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        refused += b"200" not in await reader.readline()
        before = time.monotonic()
        while (now := time.monotonic()) < end:
            part = await asyncio.wait_for(reader.read(1 << 20), 60)
            total += len(part)
            if now > end - seconds / 2:
                longest = max(longest, time.monotonic() - before)
            before = time.monotonic()
        writer.close()

    await asyncio.gather(*(read(place) for place in range(browsers)))
    print(total, longest, refused)


def get(port: int, path: str) -> float:
    """Return the time of a request on a new connection [s]."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{path} answers {response.status}")
    return time.perf_counter() - begin


def probe(port: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the times of the requests of `/healthz` and of `/metrics` [s]."""
    health: list[float] = []
    scrapes: list[float] = []

    def scrape() -> None:
        while not done.wait(SCRAPE_S):
            scrapes.append(get(port, "/metrics"))

    done = threading.Event()
    thread = threading.Thread(target=scrape)
    thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        health.append(get(port, "/healthz"))
        time.sleep(PROBE_S)
    done.set()
    thread.join()
    return health, scrapes


def quantile(values: list[float], fraction: float) -> float:
    """Return a quantile of measured values."""
    return sorted(values)[min(len(values) - 1, math.floor(fraction * len(values)))]


def main() -> None:
    """Start server and browsers, and print the response times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=300)
    parser.add_argument("--browsers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--browse", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.robots)
    if options.browse:
        return asyncio.run(browse(options.browse, options.browsers, options.seconds))
    this = [sys.executable, __file__, "--robots", str(options.robots), "--browsers", str(options.browsers)]
    connecting_s = 0.01 * options.browsers + 5.0
    with subprocess.Popen([*this, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        browsing_s = str(connecting_s + options.seconds + 2.0)
        browsers = subprocess.Popen(
            [*this, "--browse", str(port), "--seconds", browsing_s], stdout=subprocess.PIPE, text=True
        )
        connecting, _ = probe(port, connecting_s)
        health, scrapes = probe(port, options.seconds)
        received, longest, refused = browsers.communicate()[0].split()
        server.terminate()
        cpu_s, usual_s, longest_s = (float(word) for word in server.stdout.readline().split())
    print(f"{options.robots} robots of {len(JOINTS)} motors, {options.browsers} browsers ({refused} refused)")
    for name, times in (
        ("/healthz while they connect", connecting), ("/healthz", health), ("/metrics", scrapes or [math.nan])
    ):  # fmt: skip
        values = [1000 * value for value in (median(times), quantile(times, 0.99), max(times))]
        print(f"{name}: {len(times)} requests, median {values[0]:.1f}, 99 % {values[1]:.1f}, max {values[2]:.1f} ms")
    print(f"browsers received {float(received) / 1e6:.0f} MB; longest pause of a stream {float(longest):.2f} s")
    print(
        f"server: {cpu_s:.0f} s of CPU time; a turn of its event loop, during which nothing else is answered, took "
        f"{1000 * usual_s:.0f} ms of CPU time (99.9 %), at most {1000 * longest_s:.0f} ms"
    )
    return None


if __name__ == "__main__":
    main()
