"""Curves of a training in TensorBoard or Trackio, in place of LeRobot's logger for Weights & Biases.

LeRobot calls a logger with the values of every logged step; the loggers here have the same methods.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from waldo.errors import MissingExtraError

type Tracker = Literal["none", "tensorboard", "trackio", "wandb"]
"""Where the curves of a training are shown, beside the files that are always written."""

FOLDER = "tensorboard"
"""Folder of TensorBoard's events in the output folder."""

PROJECT = "waldo"
"""Trackio's project, unless TRACKIO_PROJECT names another one."""


class Logger(Protocol):
    """What LeRobot, and the evaluation of checkpoints, call."""

    def log_dict(self, d: dict[str, Any], step: int | None = None, mode: str = "train") -> None:
        """Add the values of a step; those that are no numbers are left out."""
        ...

    def log_policy(self, checkpoint_dir: Path) -> None:
        """Upload a checkpoint, where the service does this."""
        ...


def require_tracker(name: Tracker) -> None:
    """Check that the package of a tracker, which has its name, is installed.

    Raises:
        MissingExtraError: If it is not.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise MissingExtraError(name, "train" if name == "wandb" else "tracking")


class TensorBoardLogger:
    """Writes events for `tensorboard --logdir`."""

    def __init__(self, config: Any) -> None:
        """Open the events; those after the checkpoint of a resumed training are replaced.

        Args:
            config: LeRobot's configuration of the training.
        """
        from torch.utils.tensorboard import SummaryWriter

        first = _resumed_step(config)
        purge = None if first is None else first + 1
        self._writer = SummaryWriter(str(Path(config.output_dir) / FOLDER), purge_step=purge)

    def log_dict(self, d: dict[str, Any], step: int | None = None, mode: str = "train") -> None:
        """Add the values of a step."""
        for key, value in _numbers(d, mode).items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def log_policy(self, checkpoint_dir: Path) -> None:
        """Do nothing: TensorBoard shows curves only."""

    def close(self) -> None:
        """Close the events."""
        self._writer.close()


class TrackioLogger:
    """Logs to Trackio; its own variables choose the folder, a server or a space of the hub."""

    def __init__(self, config: Any) -> None:
        """Open the run, which is named after the output folder; a resumed training continues it.

        Args:
            config: LeRobot's configuration of the training.
        """
        import trackio

        self._trackio: Any = trackio
        resumed = _resumed_step(config) is not None
        trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=Path(config.output_dir).name,
            config=config.to_dict(),
            resume="allow" if resumed else "never",
            embed=False,
        )

    def log_dict(self, d: dict[str, Any], step: int | None = None, mode: str = "train") -> None:
        """Add the values of a step."""
        self._trackio.log(_numbers(d, mode), step=step)

    def log_policy(self, checkpoint_dir: Path) -> None:
        """Do nothing: checkpoints stay in the output folder."""

    def close(self) -> None:
        """Wait until everything is stored."""
        self._trackio.finish()


LOGGERS: Mapping[str, type[TensorBoardLogger | TrackioLogger]] = {
    "tensorboard": TensorBoardLogger,
    "trackio": TrackioLogger,
}
"""Tracker -> logger that takes the place of LeRobot's."""


def _numbers(values: Mapping[str, Any], mode: str) -> dict[str, float]:
    """Return the numbers among the values of a step, named as LeRobot's logger names them."""
    return {
        f"{mode}/{key}": float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _resumed_step(config: Any) -> int | None:
    """Return the step of the checkpoint that a training continues; None for a new one."""
    if not config.resume or config.checkpoint_path is None:
        return None
    return int(Path(config.checkpoint_path).resolve().name)
