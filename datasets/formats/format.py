"""Dataset formats, found through the entry points `waldo.formats`.

A package adds a format by registering a `Format` in its `pyproject.toml`:

    [project.entry-points."waldo.formats"]
    my_format = "my_package.my_format:FORMAT"

The module that defines it must import quickly: it is loaded to list the formats and their options. Source and target
classes are imported by the functions that open them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waldo import registry

if TYPE_CHECKING:
    from waldo.datasets.formats.source import ImportConfig, Source
    from waldo.datasets.formats.target import ExportConfig

GROUP = "waldo.formats"
"""The entry-point group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A dataset format that waldo reads, writes or both."""

    name: str
    """Name in options and in the `source` attribute of imported episodes, such as "replay-buffer"."""
    title: str
    """Name in texts, such as "diffusion_policy replay buffer"."""
    marker: str = ""
    """Files by which a dataset of this format is detected, for messages."""
    detect: Callable[[Path], bool] | None = None
    """Returns whether a path is a dataset of this format; None for a format that is not detected."""
    open_source: Callable[[Path, ImportConfig], Source] | None = None
    """Opens a dataset for import; None for a format that is only exported."""
    import_options: tuple[str, ...] = ()
    """Fields of `ImportConfig` that this format supports and not every format does: "fps", "color_order"."""
    export_config: Callable[[], type[ExportConfig]] | None = None
    """Returns the class of export options, which opens the target; None for a format that is only imported."""


def load_format(name: str) -> Format:
    """Return the format with this name; hyphens and underscores are equivalent.

    Raises:
        UnknownNameError: If no format is registered under this name.
    """
    return registry.load(GROUP, name.replace("-", "_"), "format")


def load_formats() -> tuple[Format, ...]:
    """Return all registered formats in the order of their names."""
    return tuple(load_format(name) for name in registry.names(GROUP))
