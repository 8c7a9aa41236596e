"""Selection of MuJoCo's GL back end, which has to happen before anything imports MuJoCo: it reads the choice once.

EGL is preferred (a GPU or Mesa), then OSMesa (software rendering). `waldo.sim.engine` imports MuJoCo after the choice.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys

from waldo.errors import InvalidValueError, WaldoError

BACKENDS = {"egl": "EGL", "osmesa": "OSMesa"}
"""Value of MUJOCO_GL -> name of the library that it needs."""
NONE = ("disable", "disabled", "off", "false", "0")
"""Values of MUJOCO_GL with which MuJoCo loads no back end."""
SYSTEM_BACKENDS = {"linux": ("egl", "osmesa", "glfw", "glx"), "darwin": ("cgl", "glfw"), "win32": ("wgl", "glfw")}
"""Platform -> values of MUJOCO_GL that name a back end."""
DEFAULT = ("enable", "enabled", "on", "true", "1")
"""Values of MUJOCO_GL with which MuJoCo chooses a back end."""


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
    """Set MUJOCO_GL unless the user did, and return the back end; None if there is none.

    Raises:
        InvalidValueError: If MuJoCo does not know the user's value.
        NoGraphicsError: If the user's back end is not installed.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen:
        known = SYSTEM_BACKENDS.get(sys.platform, ())
        if chosen not in (*known, *NONE, *DEFAULT):
            raise InvalidValueError("MUJOCO_GL", chosen, f"one of {', '.join((*known, NONE[0]))}")
        if sys.platform == "linux" and chosen in BACKENDS and not _loads(BACKENDS[chosen]):
            # MuJoCo's import would fail with an AttributeError.
            raise NoGraphicsError(f"MUJOCO_GL is {chosen}, but {BACKENDS[chosen]} is not installed")
        return None if chosen in NONE else chosen
    if sys.platform != "linux":
        return "native"
    for backend, library in BACKENDS.items():
        if _loads(library):
            os.environ["MUJOCO_GL"] = backend
            return backend
    # MuJoCo would otherwise try GLFW at import and warn; GLFW never works without a display.
    os.environ["MUJOCO_GL"] = NONE[0]
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
