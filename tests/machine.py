"""What a test may need of the machine. A test is skipped only for one of these reasons, each of which names a remedy.

With `WALDO_SKIPS=none`, as in CI, the run fails if any test is skipped.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.shaped_network import Link, ShapedNetwork

GL = "MuJoCo cannot render on this machine: apt-get install libegl1 libgl1-mesa-dri"
BROWSER = "Chromium or chromedriver is missing: apt-get install chromium chromium-driver"
FFMPEG = "ffmpeg is missing: apt-get install ffmpeg"
PROMTOOL = "promtool is missing: run scripts/test, or apt-get install prometheus"
LINUX = "this test needs Linux"
INDEX = "uv or the package index cannot be reached: install uv and connect to the network; uv caches what tests need"
NAMESPACES = "network namespaces or TUN devices are not allowed: run as root, or allow user namespaces and /dev/net/tun"
ALLOWED = (GL, BROWSER, FFMPEG, PROMTOOL, LINUX, INDEX, NAMESPACES)
"""The reasons for which a test may be skipped."""

_skipped: dict[str, str] = {}


@cache
def has_gl() -> bool:
    """Return whether MuJoCo renders on this machine; tried in a process of its own, as a broken driver may crash."""
    code = (
        "from waldo.sim.world import World; world = World('lift', worlds=1); world.reset([0]); world.render(0, 'front')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@cache
def has_browser() -> bool:
    """Return whether Chromium and chromedriver are installed."""
    return bool((shutil.which("chromium") or shutil.which("google-chrome")) and shutil.which("chromedriver"))


def promtool() -> str:
    """Return the path of Prometheus' promtool; empty if it is not installed."""
    unpacked = Path(__file__).parent.parent / ".uv" / "promtool" / "usr" / "bin" / "promtool"
    return shutil.which("promtool") or (str(unpacked) if unpacked.is_file() else "")


needs_browser = pytest.mark.skipif(not has_browser(), reason=BROWSER)
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffprobe"), reason=FFMPEG)
needs_promtool = pytest.mark.skipif(not promtool(), reason=PROMTOOL)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason=LINUX)


@pytest.fixture
def gl() -> None:
    """Skip the test if MuJoCo cannot render here."""
    if not has_gl():
        pytest.skip(GL)


@pytest.fixture(scope="module")
def shape_network() -> Iterator[Callable[[Link], ShapedNetwork]]:
    """Return a function that makes shaped networks; skip the test if this machine allows none."""
    from tests.shaped_network import NamespacesError, shaped_network

    with ExitStack() as stack:

        def shape(link: Link) -> ShapedNetwork:
            try:
                return stack.enter_context(shaped_network(link))
            except NamespacesError:
                pytest.skip(NAMESPACES)

        yield shape


UNREACHABLE = re.compile(r"dns error|error sending request|connection refused|timed out|network is unreachable", re.I)
"""What uv reports about a package index that it cannot reach."""


def install_apart(folder: Path, *packages: str) -> Path:
    """Install packages into an environment of their own and return its Python; skip the test without a package index.

    Args:
        folder: Where to create the environment.
        packages: Requirements or folders of packages.
    """
    python = folder / "bin" / "python"
    _uv("venv", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--python", str(python), *packages)
    return python


def unpack_packages(folder: Path, *packages: str) -> Path:
    """Unpack packages into a folder, without what they depend on, for the files in them; skip without a package index.

    Args:
        folder: Where to unpack them.
        packages: Requirements.
    """
    _uv("pip", "install", "--no-deps", "--python", sys.executable, "--target", str(folder), *packages)
    return folder


def _uv(*words: str) -> None:
    """Run uv; skip the test if it is not installed, or cannot reach the package index."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip(INDEX)
    command = [uv, words[0], "--quiet", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(INDEX)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def torchcodec() -> ModuleType:
    """TorchCodec's decoders; skips the test if FFmpeg's shared libraries, which TorchCodec loads, are missing."""
    try:
        return importlib.import_module("torchcodec.decoders")
    except RuntimeError:
        # TorchCodec raises it, not an ImportError, if it finds no FFmpeg.
        pytest.skip(FFMPEG)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each skipped test and its reason."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.nodeid] = str(report.longrepr[2]).removeprefix("Skipped: ")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember each module that is skipped as a whole."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.nodeid] = str(report.longrepr[2]).removeprefix("Skipped: ")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a test was skipped for a reason that is not allowed."""
    if refused := refused_skips(_skipped, os.environ.get("WALDO_SKIPS", "")):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stdout.write("\n  ".join(("\nskipped, but must not be:", *refused, "")))


def refused_skips(skipped: dict[str, str], policy: str) -> list[str]:
    """Return the skips that are refused: all with the policy "none", else those for a reason that is not allowed."""
    return [f"{test}: {reason}" for test, reason in skipped.items() if policy == "none" or reason not in ALLOWED]
