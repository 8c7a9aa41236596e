"""Open a dataset of another format, detecting the format from its files."""

from __future__ import annotations

import shlex
from pathlib import Path

from waldo.datasets.formats.format import Format, load_formats
from waldo.datasets.formats.source import ImportConfig, Source
from waldo.errors import FileError, UnknownNameError, UnsupportedOptionError, WaldoError


def import_formats() -> dict[str, Format]:
    """Return the registered formats that can be imported, by name."""
    return {known.name: known for known in load_formats() if known.open_source is not None}


def open_source(path: Path, config: ImportConfig, format: str | None = None) -> Source:
    """Open a dataset for import.

    Args:
        path: File or folder of the dataset.
        config: Options of the import.
        format: Name of the format; None detects it.

    Raises:
        FileError: If the path does not exist, or no format is detected.
        UnknownNameError: If there is no such format, or it cannot be imported.
        UnsupportedOptionError: If the format does not support an option.
    """
    if not path.exists():
        raise FileError(path, "the path does not exist", "check its spelling")
    if not path.is_file() and not path.is_dir():
        raise FileError(path, "is neither a regular file nor a folder", "choose the dataset itself")
    formats = import_formats()
    name = (format or detect(path).name).replace("_", "-")
    if name not in formats:
        raise UnknownNameError("import format", name, formats)
    _check_options(formats, name, config)
    opener = formats[name].open_source
    assert opener is not None
    return opener(path, config)


def _check_options(formats: dict[str, Format], name: str, config: ImportConfig) -> None:
    """Raise if an option is given that the format does not support."""
    for option, default in (("fps", None), ("color_order", "auto")):
        if getattr(config, option) != default and option not in formats[name].import_options:
            supported = [known.name for known in formats.values() if option in known.import_options]
            raise UnsupportedOptionError(f"--{option.replace('_', '-')}", f"--format {name}", supported)


def import_command(path: Path) -> str:
    """Return which dataset of another format a path is and the command that imports it; empty if it is none."""
    try:
        known = detect(path)
    except (WaldoError, OSError, ValueError, ImportError):
        return ""
    target = f"{path.absolute().name.partition('.')[0]}-waldo"
    return f"{known.title}; import it with: waldo import {shlex.quote(str(path))} {shlex.quote(target)}"


def detect(path: Path) -> Format:
    """Return the format of a dataset.

    Raises:
        FileError: If no registered format matches; the message lists the files that were looked for.
    """
    known = import_formats().values() if path.is_file() or path.is_dir() else ()
    for candidate in known:
        if candidate.detect is not None and candidate.detect(path):
            return candidate
    markers = "; ".join(f"{candidate.name}: {candidate.marker}" for candidate in known if candidate.marker)
    raise FileError(path, f"no importable dataset found (looked for {markers})", "pass --format to choose a format")
