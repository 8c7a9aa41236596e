"""A command's options from a YAML file: `--config FILE.yaml`, flags given after it win."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from waldo.errors import FileError, UnknownNameError


def expand_config(command: type, args: Sequence[str]) -> list[str]:
    """Replace `--config FILE` in `args` by the flags that the file's keys stand for."""
    args = list(args)
    if "--config" not in args:
        return args
    at = args.index("--config")
    if at + 1 >= len(args):
        raise FileError("--config", "no file was named", "write --config FILE.yaml")
    path = Path(args[at + 1])
    values = read_config(path, [f.name for f in dataclasses.fields(command)])
    return [*as_flags(command, values), *args[:at], *args[at + 2 :]]


def read_config(path: Path, known: Sequence[str]) -> Mapping[str, Any]:
    """Read a YAML mapping whose keys are all `known`; an unknown key is named with its line."""
    import yaml

    try:
        text = path.read_text()
        root = yaml.compose(text)
        values = yaml.safe_load(text)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise FileError(path, f"is not YAML ({' '.join(str(error).split())})") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not isinstance(root, yaml.MappingNode):
        raise FileError(path, f"holds a {type(values).__name__}, expected a mapping of options")
    for key_node, _ in root.value:
        key = str(key_node.value).replace("-", "_")
        if key not in known:
            raise UnknownNameError(f"key in {path} line {key_node.start_mark.line + 1}", key, known)
    mapping = cast("dict[object, Any]", values)
    return {str(key).replace("-", "_"): value for key, value in mapping.items()}


def as_flags(command: type, values: Mapping[str, Any]) -> list[str]:
    """Return the command-line words that give a command's fields these values; positional fields come first."""
    hints = get_type_hints(command, include_extras=True)
    positional: list[str] = []
    flags: list[str] = []
    for field in dataclasses.fields(command):
        if field.name not in values:
            continue
        value = values[field.name]
        nested = hints[field.name]
        if isinstance(value, dict) and dataclasses.is_dataclass(nested):
            flags += as_flags(cast("type", nested), cast("dict[str, Any]", value))
            continue
        words = [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else [str(value)]
        name = field.name.replace("_", "-")
        if "Positional" in repr(get_args(hints[field.name])) or "POSITIONAL" in repr(hints[field.name]):
            positional += words
        elif isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            flags += [f"--{name}", *words]
    return [*positional, *flags]
