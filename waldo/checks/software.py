"""Python, waldo's extras, rclpy, and whether PyAV can encode H.264."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence

from waldo.checks.finding import Finding, absent, fail, ok, run_probe, slow

EXTRAS: Mapping[str, Sequence[str]] = {
    "collect": ("rclpy", "sensor_msgs", "std_srvs", "diagnostic_msgs", "sshkeyboard", "pygame"),
    "sim": ("mujoco", "gymnasium", "matplotlib", "mink", "scipy"),
    "train": ("torch", "lerobot", "transformers", "xgrammar", "openai", "mujoco", "gymnasium", "matplotlib"),
    "fleet": ("rclpy", "diagnostic_msgs", "starlette", "uvicorn", "prometheus_client"),
}
"""Extra -> the modules that it installs."""

ROS_MODULES = ("rclpy", "sensor_msgs.msg", "std_srvs.srv", "std_msgs.msg", "diagnostic_msgs.msg", "rosgraph_msgs.msg")
"""The ROS modules that waldo imports."""

ROS_FIX = "rm -rf .venv && uv sync --all-extras, and from then on only `uv sync --inexact`"
"""The ROS wheels contain distributions that uv does not track and that a second plain `uv sync` removes."""


RMW_FIX = "unset RMW_IMPLEMENTATION: only rmw_fastrtps_cpp is installed here"
"""The fix if the middleware named by RMW_IMPLEMENTATION is not installed."""


def installed(module: str) -> bool:
    """Return whether a top-level module is installed, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def judge_python(version: tuple[int, int], text: str) -> Finding:
    """Judge the Python version; the ROS wheels exist only for 3.12."""
    if version == (3, 12):
        return ok("python", text)
    return fail("python", f"{text}, expected 3.12", "uv python install 3.12 && uv venv --python 3.12 && uv sync")


def judge_extra(extra: str, present: Callable[[str], bool]) -> Finding:
    """Judge whether an extra is installed completely, partly (an error) or not at all."""
    missing = [module for module in EXTRAS[extra] if not present(module)]
    if not missing:
        return ok(f"extra {extra}", "installed")
    # Modules that other extras install too do not show that this extra was requested.
    own = [m for m in EXTRAS[extra] if sum(m in modules for modules in EXTRAS.values()) == 1]
    if not any(present(module) for module in own):
        return absent(f"extra {extra}", f"not installed; to install it: uv sync --inexact --extra {extra}")
    fix = (
        ROS_FIX if set(missing) <= {m.partition(".")[0] for m in ROS_MODULES} else f"uv sync --inexact --extra {extra}"
    )
    return fail(f"extra {extra}", f"partly installed, missing {', '.join(missing)}", fix)


def judge_ros_import(output: str, trouble: str, returncode: int | None) -> Finding:
    """Judge the import of the ROS modules."""
    if returncode == 0:
        return ok("rclpy", output)
    if returncode is None:
        return slow("rclpy", trouble)
    found = f"cannot be imported ({trouble or 'the process crashed'})"
    return fail("rclpy", found, RMW_FIX if "RMW implementation" in trouble else ROS_FIX)


def judge_h264(output: str, trouble: str, returncode: int | None) -> Finding:
    """Judge the encoding and decoding of a short video."""
    if returncode == 0:
        return ok("video", output)
    if returncode is None:
        return slow("video", trouble)
    return fail(
        "video",
        f"PyAV cannot encode H.264 ({trouble or 'the process crashed'})",
        "uv pip install --reinstall av  (the wheel contains FFmpeg with libx264; a local build may not)",
    )


def check_python() -> list[Finding]:
    """Check the running Python."""
    return [judge_python(sys.version_info[:2], f"{sys.version.split()[0]} at {sys.executable}")]


def check_extras() -> list[Finding]:
    """Check waldo's extras."""
    return [judge_extra(extra, installed) for extra in EXTRAS]


def check_ros_import() -> list[Finding]:
    """Import rclpy and the message types."""
    if not installed("rclpy"):
        return [absent("rclpy", "not installed; install the extra `collect`")]
    code = (
        "import importlib, sys, rclpy\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "from sensor_msgs.msg import JointState; JointState.__class__.__import_type_support__()\n"
        "print('imported from', rclpy.__path__[0])"
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
print(f"libx264 encodes and decodes, PyAV {av.__version__}")
"""


def check_h264() -> list[Finding]:
    """Encode and decode a short video."""
    probe = run_probe(H264_PROBE, timeout_s=10)
    return [judge_h264(probe.output, probe.trouble, probe.returncode)]
