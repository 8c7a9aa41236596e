"""The ROS graph: Fast DDS's shared memory, the middleware, the domain, and a message between two processes."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from waldo.checks.finding import Finding, absent, fail, last_line, ok, python_command, run_probe, slow, warn
from waldo.checks.software import RMW_FIX, installed
from waldo.ros import PROFILE_VARIABLES

DEFAULT_SEGMENT = 512 * 1024
"""Default shared-memory segment of Fast DDS [bytes]; too small for camera images (rmw_fastrtps issues 739 and 576)."""

ENOUGH_SEGMENT = 16 * 1024 * 1024
"""Segment size that suffices for three compressed cameras or one raw camera [bytes]."""

PROCESSES = 4
"""Processes of a recording session, each with its own segment: robot, teleoperation, recorder, dashboard."""

WALDO_SEGMENT = 64 * 1024 * 1024
"""Segment of each waldo process [bytes]; set in waldo/ros/fastdds.xml."""

PROFILE_FIX = "unset FASTDDS_DEFAULT_PROFILES_FILE to use waldo's profile, or copy its SHM transport (segment_size)"


def segment_size(xml: str) -> int | None:
    """Return the smallest shared-memory segment of a Fast DDS profile [bytes]; None if it sets none."""
    sizes: list[int] = []
    for transport in ElementTree.fromstring(xml).iter():
        if transport.tag.rpartition("}")[2] != "transport_descriptor":
            continue
        values = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in transport}
        if values.get("type", "").upper() == "SHM":
            sizes.append(int(values.get("segment_size", DEFAULT_SEGMENT)))
    return min(sizes, default=None)


def judge_profile(environment: Mapping[str, str]) -> Finding:
    """Judge the Fast DDS profile that waldo's processes will use."""
    name = next((environment[v] for v in PROFILE_VARIABLES if environment.get(v)), None)
    if name is None:
        transports = environment.get("FASTDDS_BUILTIN_TRANSPORTS")
        if transports:
            return ok(
                "DDS profile", f"FASTDDS_BUILTIN_TRANSPORTS={transports}, set by the user; raw images may be lost"
            )
        return ok("DDS profile", f"waldo's profile, shared-memory segment {megabytes(WALDO_SEGMENT)}")
    try:
        size = segment_size(Path(name).read_text())
    except OSError as error:
        return fail("DDS profile", f"{name} cannot be read ({error.strerror})", PROFILE_FIX)
    except (ElementTree.ParseError, ValueError) as error:
        return fail("DDS profile", f"{name} is not a Fast DDS profile ({error})", PROFILE_FIX)
    if size is None:
        return warn("DDS profile", f"{name} sets no shared-memory segment; the default is 512 KB", PROFILE_FIX)
    if size < ENOUGH_SEGMENT:
        return warn(
            "DDS profile", f"{name} has a segment of {megabytes(size)}: camera images will be lost", PROFILE_FIX
        )
    return ok("DDS profile", f"{name}, shared-memory segment {megabytes(size)}")


def judge_shared_memory(size: int, free: int) -> Finding:
    """Judge the size of /dev/shm [bytes], where every process has its segment."""
    found = f"/dev/shm {megabytes(free)} free of {megabytes(size)}"
    fix = "sudo mount -o remount,size=1G /dev/shm  (in a container: docker run --shm-size=1g)"
    if free < WALDO_SEGMENT:
        return fail("shared memory", f"{found}, each process needs {megabytes(WALDO_SEGMENT)}", fix)
    if free < PROCESSES * WALDO_SEGMENT:
        return warn("shared memory", f"{found}, a session needs {megabytes(PROCESSES * WALDO_SEGMENT)}", fix)
    return ok("shared memory", found)


def judge_rmw(name: str) -> Finding:
    """Judge RMW_IMPLEMENTATION, empty for unset."""
    if name in ("", "rmw_fastrtps_cpp"):
        return ok("middleware", "rmw_fastrtps_cpp")
    return warn(
        "middleware",
        f"RMW_IMPLEMENTATION={name}: waldo is tested with Fast DDS only (loss counts, profile)",
        "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp, unless the robot needs the other one",
    )


def judge_domain(text: str) -> Finding:
    """Judge ROS_DOMAIN_ID (empty if unset). Domains 102 to 214 use Linux's ephemeral ports, from 32768."""
    if not text:
        return ok("ROS domain", "0 (ROS_DOMAIN_ID is not set)")
    if not text.isascii() or not text.isdigit() or int(text) > 232:
        return fail("ROS domain", f"ROS_DOMAIN_ID={text}, expected 0 to 232", "export ROS_DOMAIN_ID=0")
    if 101 < int(text) < 215:
        return warn(
            "ROS domain",
            f"{text}: its ports overlap with Linux's ephemeral ports",
            "choose ROS_DOMAIN_ID from 0 to 101 or 215 to 232",
        )
    return ok("ROS domain", text)


def judge_message(output: str, trouble: str, returncode: int | None) -> Finding:
    """Judge whether messages were received by another process."""
    if returncode == 0:
        return ok("ROS message", output)
    if returncode is None:
        return slow("ROS message", trouble)
    found = f"an image was not received by another process ({trouble or 'the process crashed'})"
    firewall = (
        "allow multicast and UDP ports 7400 and up in the firewall; rm /dev/shm/fastrtps_* while no ROS process runs"
    )
    return fail("ROS message", found, RMW_FIX if "RMW implementation" in trouble else firewall)


def megabytes(size: int) -> str:
    """Return a size [bytes] with its unit, such as "64 MB"."""
    if size < 1 << 20:
        return f"{size >> 10} KB"
    return f"{size >> 20} MB" if size < 10 << 30 else f"{size >> 30} GB"


SEND = """
import sys
from sensor_msgs.msg import CompressedImage
from waldo.ros import join_graph, stream_qos
with join_graph("waldo_doctor_sender") as graph:
    publisher = graph.node.create_publisher(CompressedImage, sys.argv[1], stream_qos(5))
    while True:
        publisher.publish(CompressedImage(format="jpeg", data=bytes(100_000)))
        graph.spin_for(0.05)
"""

RECEIVE = """
import sys, time
from sensor_msgs.msg import CompressedImage
from waldo.ros import join_graph, stream_qos
received = []
with join_graph("waldo_doctor_receiver") as graph:
    start = time.monotonic()
    callback = lambda message: received.append(len(message.data))
    graph.subscribe(CompressedImage, sys.argv[1], callback, stream_qos(5))
    if not graph.spin_until(lambda: len(received) >= 3, 7.0):
        sys.exit(f"{len(received)} of 3 received in 7 s")
assert set(received) == {100_000}, "the message was altered"
print(f"3 images of 100 kB received by another process, the first after {time.monotonic() - start:.1f} s")
"""


def check_dds() -> list[Finding]:
    """Check the profile, the shared memory, the middleware and the domain."""
    shm = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    return [
        judge_profile(os.environ),
        absent("shared memory", "no /dev/shm on this system")
        if shm is None
        else judge_shared_memory(shm.f_blocks * shm.f_frsize, shm.f_bavail * shm.f_frsize),
        judge_rmw(os.environ.get("RMW_IMPLEMENTATION", "")),
        judge_domain(os.environ.get("ROS_DOMAIN_ID", "")),
    ]


def check_message() -> list[Finding]:
    """Send images from one process to another over the ROS graph."""
    if not installed("rclpy"):
        return [absent("ROS message", "rclpy is not installed; install the extra `collect`")]
    topic = f"/waldo_doctor_{os.getpid()}"
    with subprocess.Popen(
        python_command(SEND, topic), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as sender:
        try:
            probe = run_probe(RECEIVE, topic, timeout_s=12)
            died = sender.poll() is not None
        finally:
            sender.kill()
        errors = sender.stderr.read() if sender.stderr else ""
    return [judge_message(probe.output, last_line(errors) if died else probe.trouble, probe.returncode)]
