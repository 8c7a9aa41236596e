"""A command's options from a YAML file: `--config FILE.yaml`. Options on the command line override the file.

The file is a mapping of option names to values; options that are grouped in a nested dataclass are a nested mapping:

    dataset: my-data
    selection: {outcome: [success]}
    rows: {fps: 30}
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from waldo.errors import FileError, InvalidValueError, MissingOptionError, UnknownNameError
from waldo.files import format_bytes, read_regular
from waldo.json_file import shown

MAX_BYTES = 20_000
"""Maximum size of a file [bytes]; all options of a command take a tenth of it, and PyYAML is slow."""

EXPECTED = {
    "tuple_type": "a list, such as [a, b]",
    "dataclass_type": "a mapping of keys to values",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}
"""Kind of error of pydantic -> the expected value."""

if TYPE_CHECKING:
    from yaml import MappingNode, Node


def split_config(args: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file named by `--config`, if any, and the other arguments."""
    for at, word in enumerate(args):
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), [*args[:at], *args[at + 1 :]]
        if word == "--config":
            if at + 1 >= len(args):
                raise MissingOptionError("--config", "a file", "pass --config FILE.yaml")
            return Path(args[at + 1]), [*args[:at], *args[at + 2 :]]
    return None, list(args)


def load_defaults[T](command: type[T], path: Path) -> T:
    """Return a command whose options are those of a YAML file; required options that it lacks are `tyro.MISSING`.

    Raises:
        FileError: If the file cannot be read or is not a YAML mapping.
        UnknownNameError: If it contains a key that is not an option; the message names the line.
        InvalidValueError: If a value does not have the option's type.
    """
    values, node = load_yaml(path)
    return _construct(command, values, node, path)


def load_file[T](kind: type[T], path: Path) -> T:
    """Return a dataclass from a YAML file that contains all of its required keys.

    Raises:
        FileError: If the file cannot be read, is not a YAML mapping, or lacks a required key.
        UnknownNameError: If it contains an unknown key; the message names the line.
        InvalidValueError: If a value does not have the key's type.
    """
    values, node = load_yaml(path)
    return _construct(kind, values, node, path, complete=True)


def load_yaml(path: Path) -> tuple[dict[Any, Any], MappingNode | None]:
    """Return the mapping in a YAML file, and its syntax tree; None if the file is empty.

    Raises:
        FileError: If the file cannot be read or is not a YAML mapping.
    """
    import yaml

    try:
        data = read_regular(path, MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise FileError(path, f"is larger than {format_bytes(MAX_BYTES)}", "pass a file of options")
        node = yaml.compose(data, Loader=yaml.SafeLoader)
        values = yaml.safe_load(data)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    except RecursionError:
        raise FileError(path, "is not usable YAML (it is nested too deeply)") from None
    # Of numbers and dates that Python cannot represent.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise FileError(path, f"is not valid YAML ({shown(error, 200)})") from error
    if values is None:
        return {}, None
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise FileError(path, f"contains a {type(values).__name__}, expected a mapping of options")
    return values, node


def _construct[T](
    kind: type[T], values: Mapping[Any, Any], node: MappingNode | None, path: Path, *, complete: bool = False
) -> T:
    """Build a dataclass from a YAML mapping, nested dataclasses and sequences of them included."""
    import tyro

    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    nodes = {} if node is None else {str(key.value).replace("-", "_"): (key, value) for key, value in node.value}
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        # Keys such as `true` and `<<` are not text.
        line = nodes[name][0].start_mark.line + 1 if name in nodes else 1
        if name not in fields:
            raise UnknownNameError(f"key in {path} line {line}", shown(name), fields)
        nested = _dataclass_in(hints[name])
        if nested is not None and isinstance(value, dict):
            found[name] = _construct(nested, value, _mapping(nodes[name][1]), path, complete=complete)
        elif nested is not None and isinstance(value, list) and all(isinstance(one, dict) for one in value):
            parts = [_mapping(part) for part in nodes[name][1].value]
            found[name] = tuple(
                _construct(nested, one, part, path, complete=complete) for one, part in zip(value, parts, strict=True)
            )
        else:
            found[name] = _validated(hints[name], value, f"{name} in {path} line {line}")
    for field in fields.values():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in found and complete:
            line = 1 if node is None else node.start_mark.line + 1
            raise FileError(path, f"lacks the key {field.name} (line {line})", f"add it: {_summary(kind, field.name)}")
        if required and field.name not in found:
            found[field.name] = tyro.MISSING
    try:
        return kind(**found)
    except InvalidValueError as error:
        key = nodes[error.key][0] if error.key in nodes else node
        raise error.at(f"in {path} line {1 if key is None else key.start_mark.line + 1}") from None


def _summary(kind: type, name: str) -> str:
    """Return what a field is for: its docstring in the source."""
    source = inspect.getsource(kind)
    match = re.search(rf'^    {name}:[^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL)
    return " ".join(match[1].split()) if match else name


def _mapping(node: Node) -> MappingNode | None:
    from yaml import MappingNode

    return node if isinstance(node, MappingNode) else None


def _dataclass_in(hint: Any) -> type | None:
    """Return the dataclass that a type hint is or, as an `Annotated` or optional type, contains."""
    if dataclasses.is_dataclass(hint):
        return hint if isinstance(hint, type) else None
    return next((inner for part in get_args(hint) if (inner := _dataclass_in(part)) is not None), None)


def _validated(hint: Any, value: Any, name: str) -> Any:
    """Return a YAML value converted to an option's type, such as a list to a tuple and text to a path."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        # In the words of YAML, not of Python.
        expected = EXPECTED.get(first["type"]) or first["msg"].removeprefix("Input should be ")
        raise InvalidValueError(name, value, expected[:1].lower() + expected[1:]) from error
