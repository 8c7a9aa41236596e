"""MuJoCo, imported after the GL back end was chosen: use `from waldo.sim.engine import mujoco`, never `import mujoco`.

MuJoCo ships no types that a checker can follow; its objects are `Any` here, under descriptive names.
"""

from __future__ import annotations

import importlib
from typing import Any

from waldo.graphics import choose_backend

type Spec = Any
"""A mujoco.MjSpec: a scene that is being built."""
type Model = Any
"""A mujoco.MjModel: a compiled scene."""
type Element = Any
"""A part of a spec, such as an actuator."""
type Data = Any
"""A mujoco.MjData: the state of a scene."""

choose_backend()
mujoco: Any = importlib.import_module("mujoco")
batch: Any = importlib.import_module("mujoco.batch")
