"""waldo: one open stack for robot teleoperation data and VLA training that forecasts and governs motor heat.

    from waldo import Dataset, World, evaluate, load_robot

    for episode in Dataset.open("my-data").episodes:
        print(episode.task, episode.outcome)

The names below are imported when they are first used, so `import waldo` is fast and needs no optional package.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.episode import Episode
    from waldo.datasets.formats.target import export_dataset
    from waldo.datasets.lerobot.format import LeRobotConfig
    from waldo.datasets.quality.check import check_dataset
    from waldo.datasets.reading.rows import RowConfig, make_rows
    from waldo.datasets.reading.windows import WindowConfig, Windows
    from waldo.datasets.selection import Selection
    from waldo.datasets.streams import DepthStream, Field, ScalarStream, VideoStream
    from waldo.errors import WaldoError
    from waldo.robots.description import Robot, load_robot
    from waldo.robots.driver import Driver, load_driver
    from waldo.robots.motors.library import load_motor
    from waldo.robots.thermal.monitor import HeatMonitor
    from waldo.sim.evaluation.evaluate import EvalConfig, evaluate
    from waldo.sim.policy import Policy
    from waldo.sim.tasks.task import Task, load_task
    from waldo.sim.world import World

DISTRIBUTION = "waldo-robotics"
"""Name of the distribution: `waldo` on the package index is another project."""

try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0.0.0"

_MODULES = {
    "Dataset": "waldo.datasets.dataset",
    "DepthStream": "waldo.datasets.streams",
    "Driver": "waldo.robots.driver",
    "Episode": "waldo.datasets.episode",
    "EvalConfig": "waldo.sim.evaluation.evaluate",
    "Field": "waldo.datasets.streams",
    "HeatMonitor": "waldo.robots.thermal.monitor",
    "LeRobotConfig": "waldo.datasets.lerobot.format",
    "Policy": "waldo.sim.policy",
    "Robot": "waldo.robots.description",
    "RowConfig": "waldo.datasets.reading.rows",
    "ScalarStream": "waldo.datasets.streams",
    "Selection": "waldo.datasets.selection",
    "Task": "waldo.sim.tasks.task",
    "VideoStream": "waldo.datasets.streams",
    "WaldoError": "waldo.errors",
    "WindowConfig": "waldo.datasets.reading.windows",
    "Windows": "waldo.datasets.reading.windows",
    "World": "waldo.sim.world",
    "check_dataset": "waldo.datasets.quality.check",
    "evaluate": "waldo.sim.evaluation.evaluate",
    "export_dataset": "waldo.datasets.formats.target",
    "load_driver": "waldo.robots.driver",
    "load_motor": "waldo.robots.motors.library",
    "load_robot": "waldo.robots.description",
    "load_task": "waldo.sim.tasks.task",
    "make_rows": "waldo.datasets.reading.rows",
}
"""Public name -> the module that defines it."""

__all__ = [
    "Dataset",
    "DepthStream",
    "Driver",
    "Episode",
    "EvalConfig",
    "Field",
    "HeatMonitor",
    "LeRobotConfig",
    "Policy",
    "Robot",
    "RowConfig",
    "ScalarStream",
    "Selection",
    "Task",
    "VideoStream",
    "WaldoError",
    "WindowConfig",
    "Windows",
    "World",
    "__version__",
    "check_dataset",
    "evaluate",
    "export_dataset",
    "load_driver",
    "load_motor",
    "load_robot",
    "load_task",
    "make_rows",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'waldo' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
