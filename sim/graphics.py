"""Selection of MuJoCo's GL back end, which has to happen before MuJoCo is imported.

EGL is preferred (a GPU or Mesa), then OSMesa (software rendering). `waldo.sim.engine` imports MuJoCo after the choice.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys

from waldo.errors import WaldoError

BACKENDS = {"egl": "EGL", "osmesa": "OSMesa"}
"""Value of MUJOCO_GL -> name of the library that it needs."""
NONE = "disable"
"""Value of MUJOCO_GL with which MuJoCo loads no back end."""


class NoGraphicsError(WaldoError):
    """No GL back end works, so cameras cannot be simulated."""

    exit_code = 3

    def __init__(self, reason: str) -> None:
        """Build the message from the back ends that were tried and why they failed."""
        super().__init__(
            f"cannot render images without a display ({reason}); install a GL back end: "
            "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
        )


def choose_backend() -> str | None:
    """Set MUJOCO_GL unless the user did, and return the back end; None if there is none."""
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return None if chosen == NONE else chosen
    if sys.platform != "linux":
        return "native"
    for backend, library in BACKENDS.items():
        if _loads(library):
            os.environ["MUJOCO_GL"] = backend
            return backend
    # MuJoCo would otherwise try GLFW at import and warn; GLFW never works without a display.
    os.environ["MUJOCO_GL"] = NONE
    return None


def _loads(library: str) -> bool:
    found = ctypes.util.find_library(library)
    if found is None:
        return False
    try:
        ctypes.CDLL(found)
    except OSError:
        return False
    return True
