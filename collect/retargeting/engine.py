"""MuJoCo and mink, imported after the GL back end was chosen: MuJoCo reads that choice once, when it is imported.

MuJoCo ships no types that a checker can follow; its objects are `Any` here, under descriptive names.
"""

from __future__ import annotations

import importlib
from typing import Any

from waldo.errors import MissingExtraError
from waldo.graphics import choose_backend

type Model = Any
"""A mujoco.MjModel: a compiled robot."""

choose_backend()
try:
    mujoco: Any = importlib.import_module("mujoco")
    mink: Any = importlib.import_module("mink")
except ModuleNotFoundError as error:
    raise MissingExtraError(str(error.name), "retargeting") from error
