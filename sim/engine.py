"""MuJoCo, imported once the GL back end has been chosen: `from waldo.sim.engine import mujoco`, never `import mujoco`.

MuJoCo carries no types that a checker can follow, so its objects are `Any` here, under names that say what they are.
"""

from __future__ import annotations

import importlib
from typing import Any

from waldo.sim.camera import choose_backend

type Spec = Any
"""An mujoco.MjSpec: a scene being built."""
type Model = Any
"""An mujoco.MjModel: a compiled scene."""
type Data = Any
"""An mujoco.MjData: a scene's state."""

choose_backend()
mujoco: Any = importlib.import_module("mujoco")
batch: Any = importlib.import_module("mujoco.batch")
