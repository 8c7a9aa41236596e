"""Latency from a camera to the page of the console, measured through the image itself in headless Chromium.

Usage: uv run python benchmarks/console_latency.py [--seconds 20] [--cameras 3]

Cameras of 640x480 pixels at 30 Hz publish JPEGs over DDS, in which black and white squares show the time at which the
image was made. `waldo operate` records nothing meanwhile and serves the page. A script in the page reads the squares
back from each canvas at every frame of the screen: the latency is the time since the newest one was made. It contains
encoding, DDS, the WebSocket, decoding and drawing, but not the camera's exposure and not the display.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from workload import print_table

from waldo import ros
from waldo.robots.description import load_robot

BITS, SQUARE = 24, 20
"""Bits of the time [ms] in an image, and the width of the square of each [pixels]."""
READ = """
window.latencies = {}; window.shown = {};
const read = () => {
  for (const canvas of document.querySelectorAll('canvas')) {
    const name = canvas.getAttribute('aria-label');
    const row = canvas.getContext('2d').getImageData(0, SQUARE / 2, BITS * SQUARE, 1).data;
    let value = 0;
    for (let bit = 0; bit < BITS; bit += 1) if (row[4 * (bit * SQUARE + SQUARE / 2)] > 127) value += 2 ** bit;
    if (value === window.shown[name]) continue;
    window.shown[name] = value;
    const age = (Date.now() % 2 ** BITS) - value;
    (window.latencies[name] ??= []).push(age);
  }
  requestAnimationFrame(read);
};
read();
"""


def image(background: np.ndarray) -> bytes:
    """Return a JPEG with the present time in its first row of squares."""
    shown = background.copy()
    now = int(time.time() * 1000) % 2**BITS
    for bit in range(BITS):
        shown[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 if now >> bit & 1 else 0
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def publish(cameras: int, ended: threading.Event) -> None:
    """Publish the cameras and the joints of an SO-101 until the end."""
    from sensor_msgs.msg import CompressedImage, JointState

    robot, rng = load_robot("so101"), np.random.default_rng(0)
    noise = rng.integers(0, 60, (60, 80, 3)).astype(np.uint8)
    background = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC) + np.uint8(60)
    with ros.join_graph("robot", "so101") as graph:
        node, qos = graph.node, ros.stream_qos()
        images = [
            node.create_publisher(CompressedImage, f"cameras/camera_{k}/image_raw/compressed", qos)
            for k in range(cameras)
        ]
        joints = node.create_publisher(JointState, "joint_states", qos)
        start = time.monotonic()
        for tick in range(10**9):
            if ended.is_set():
                return
            stamp = ros.ns_to_stamp(time.time_ns())
            zeros = [0.0] * len(robot.joints)
            state = JointState(name=list(robot.joint_names), position=zeros, velocity=zeros, effort=zeros)
            state.header.stamp = stamp
            joints.publish(state)
            for publisher in images:
                message = CompressedImage(format="jpeg", data=image(background))
                message.header.stamp = stamp
                publisher.publish(message)
            time.sleep(max(0.0, start + (tick + 1) / 30 - time.monotonic()))


def measure(seconds: float, address: str) -> dict[str, list[float]]:
    """Return camera -> latencies [ms] on a page of the console."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        browser.get(address)
        time.sleep(5)
        browser.execute_script(READ.replace("BITS", str(BITS)).replace("SQUARE", str(SQUARE)))
        time.sleep(seconds)
        found: Any = browser.execute_script("return window.latencies")
        return {name: [float(one) for one in values[5:]] for name, values in found.items()}
    finally:
        browser.quit()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--cameras", type=int, default=3)
    arguments = parser.parse_args()
    ended = threading.Event()
    cameras = threading.Thread(target=publish, args=(arguments.cameras, ended))
    cameras.start()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "waldo", "operate", str(Path(folder) / "set"), "--port", "8653"]
        operate = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(6)
            found = measure(arguments.seconds, "http://127.0.0.1:8653/")
        finally:
            ended.set()
            cameras.join()
            operate.send_signal(2)
            operate.wait(60)
    rows = [
        [
            name,
            f"{len(values) / arguments.seconds:.1f}",
            f"{np.median(values):.0f}",
            f"{np.quantile(values, 0.99):.0f}",
        ]
        for name, values in sorted(found.items())
    ]
    print_table("Camera to page", ["camera", "images/s", "p50 ms", "p99 ms"], rows)


if __name__ == "__main__":
    main()
