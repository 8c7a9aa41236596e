"""Python, waldo's extras, and whether PyAV can write the video that episodes are made of."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence

from waldo.checks.finding import Finding, absent, fail, ok, run_probe

EXTRAS: Mapping[str, Sequence[str]] = {
    "collect": ("rclpy", "sensor_msgs", "std_srvs", "diagnostic_msgs", "sshkeyboard", "pygame", "mujoco"),
    "sim": ("mujoco", "gymnasium", "matplotlib"),
    "train": ("torch", "lerobot", "transformers", "xgrammar", "openai", "mujoco", "gymnasium", "matplotlib"),
    "fleet": ("rclpy", "diagnostic_msgs", "starlette", "uvicorn", "prometheus_client"),
}
"""Extra -> the modules it brings."""

ROS_MODULES = ("rclpy", "sensor_msgs.msg", "std_srvs.srv", "std_msgs.msg", "diagnostic_msgs.msg", "rosgraph_msgs.msg")
"""What waldo imports of ROS."""

ROS_MEND = "rm -rf .venv && uv sync --all-extras, and from then on only `uv sync --inexact`"
"""The ROS wheels hold distributions that uv does not know of and that a second plain `uv sync` removes."""


RMW_MEND = "unset RMW_IMPLEMENTATION: only rmw_fastrtps_cpp is installed here"
"""What helps where the middleware named is not there; rclpy then names the RMW implementation that it found."""


def installed(module: str) -> bool:
    """Say whether a top-level module is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def judge_python(version: tuple[int, int], text: str) -> Finding:
    """Judge the Python version; the ROS wheels exist for 3.12 alone."""
    if version == (3, 12):
        return ok("python", text)
    return fail("python", f"{text}, expected 3.12", "uv python install 3.12 && uv venv --python 3.12 && uv sync")


def judge_extra(extra: str, present: Callable[[str], bool]) -> Finding:
    """Judge whether an extra is installed wholly, not at all, or in part, which a user has certainly not wanted."""
    missing = [module for module in EXTRAS[extra] if not present(module)]
    if not missing:
        return ok(f"extra {extra}", "installed")
    # Modules that other extras bring too do not say that this one was asked for.
    own = [m for m in EXTRAS[extra] if sum(m in modules for modules in EXTRAS.values()) == 1]
    if not any(present(module) for module in own):
        return absent(f"extra {extra}", f"not installed; uv sync --inexact --extra {extra} brings it")
    mend = (
        ROS_MEND if set(missing) <= {m.partition(".")[0] for m in ROS_MODULES} else f"uv sync --inexact --extra {extra}"
    )
    return fail(f"extra {extra}", f"installed in part, missing {', '.join(missing)}", mend)


def judge_ros_import(output: str, trouble: str, returncode: int | None) -> Finding:
    """Judge what came of importing every ROS module."""
    if returncode == 0:
        return ok("rclpy", output)
    found = f"cannot be imported ({trouble or 'the process crashed'})"
    return fail("rclpy", found, RMW_MEND if "RMW implementation" in trouble else ROS_MEND)


def judge_h264(output: str, trouble: str, returncode: int | None) -> Finding:
    """Judge what came of encoding and decoding a short video."""
    if returncode == 0:
        return ok("video", output)
    return fail(
        "video",
        f"PyAV cannot write H.264 ({trouble or 'the process crashed'})",
        "uv pip install --reinstall av  (the wheel from PyPI holds FFmpeg with libx264; a build of your own may not)",
    )


def check_python() -> list[Finding]:
    """Look at the Python that runs."""
    return [judge_python(sys.version_info[:2], f"{sys.version.split()[0]} at {sys.executable}")]


def check_extras() -> list[Finding]:
    """Look at waldo's extras."""
    return [judge_extra(extra, installed) for extra in EXTRAS]


def check_ros_import() -> list[Finding]:
    """Import rclpy and the messages."""
    if not installed("rclpy"):
        return [absent("rclpy", "not installed; it comes with the extra `collect`")]
    code = (
        "import importlib, sys, rclpy\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "from sensor_msgs.msg import JointState; JointState.__class__.__import_type_support__()\n"
        "print('imports from', rclpy.__path__[0])"
    )
    probe = run_probe(code, *ROS_MODULES, timeout_s=10)
    return [judge_ros_import(probe.output, probe.trouble, probe.returncode)]


H264_PROBE = """
import io, av, numpy
buffer = io.BytesIO()
with av.open(buffer, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for n in range(3):
        frame = av.VideoFrame.from_ndarray(numpy.full((48, 64, 3), 80 * n, numpy.uint8))
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
buffer.seek(0)
with av.open(buffer) as container:
    assert len(list(container.decode(video=0))) == 3, "frames were lost"
print(f"libx264 writes and reads, PyAV {av.__version__}")
"""


def check_h264() -> list[Finding]:
    """Write and read a short video."""
    probe = run_probe(H264_PROBE, timeout_s=10)
    return [judge_h264(probe.output, probe.trouble, probe.returncode)]
