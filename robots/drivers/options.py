"""Options of drivers and devices: frozen dataclasses that are also built from `--option name=value`.

A driver names its options class as the class attribute `Options`, with a docstring under each field:

    class MyDriver:
        Options = MyOptions

        def __init__(self, robot: Robot, **options: object) -> None:
            self.options = build_options(MyOptions, options)

Fields are text, numbers, truth values, `Literal` choices, tuples of these with one value per joint, or a mapping of
text to text. Only the command line passes text: `parse_options` converts it to the type of the field.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import numbers
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from waldo.errors import InvalidValueError, UnknownNameError
from waldo.robots.driver import load_driver

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
"""Spellings of a truth value on the command line."""

NOUNS: Mapping[Any, str] = {str: "text", int: "whole number", float: "number"}
"""Type of a field -> its noun in messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedOptions:
    """Base class of the options of a driver or device: checks the type of every field."""

    def __post_init__(self) -> None:
        """Check every field against its annotation.

        Raises:
            InvalidValueError: If a value has another type than its field, or is not among the field's choices.
        """
        for name, hint in _hints(type(self)).items():
            if not _matches(getattr(self, name), hint):
                raise InvalidValueError(name, getattr(self, name), _noun(hint))

    def require_positive(self, *names: str) -> None:
        """Raise InvalidValueError unless the named fields are above 0."""
        for name in names:
            if not getattr(self, name) > 0:
                raise InvalidValueError(name, getattr(self, name), "a number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionHelp:
    """One option of a driver, for help texts."""

    name: str
    type: str
    """Kind of value, such as "a number" or "hold or release"."""
    default: object
    help: str
    """Docstring of the field."""


def build_options[T](kind: type[T], values: Mapping[str, object]) -> T:
    """Return the options `kind` with the given fields; a list becomes a tuple.

    Raises:
        UnknownNameError: If `kind` has no field of that name; the message suggests the closest one.
        InvalidValueError: If a value does not fit its field.
    """
    known = _hints(kind)
    for name in values:
        if name not in known:
            raise UnknownNameError("option", name, known)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def parse_options(texts: Sequence[str], *kinds: type | None) -> dict[str, object]:
    """Return name -> value from the command line's "name=value" texts.

    Args:
        texts: Options such as "channel=can0" or "ids=1, 2, 0x0B".
        kinds: The dataclasses whose fields can be set, each converted to the type of its field; None adds no fields.

    Raises:
        UnknownNameError: If no class has a field of that name.
        InvalidValueError: If a text is not "name=value" or cannot be converted.
    """
    return convert_options(split_options(texts), *kinds)


def split_options(texts: Sequence[str]) -> dict[str, str]:
    """Return name -> text from "name=value" texts.

    Raises:
        InvalidValueError: If a text has no name or no equals sign.
    """
    pairs = [text.partition("=") for text in texts]
    if wrong := [key + equals + value for key, equals, value in pairs if not (key and equals)]:
        raise InvalidValueError("option", wrong[0], "name=value")
    return {key: value for key, _, value in pairs}


def convert_options(values: Mapping[str, str], *kinds: type | None) -> dict[str, object]:
    """Return name -> value, each text converted to the type of its field in one of the dataclasses `kinds`.

    Raises:
        UnknownNameError: If no class has a field of that name.
        InvalidValueError: If a text cannot be converted.
    """
    hints = {name: hint for kind in kinds if kind is not None for name, hint in _hints(kind).items()}
    found: dict[str, object] = {}
    for name, text in values.items():
        # An option of one part of a robot is named part.option.
        field = name.rpartition(".")[2]
        if field not in hints:
            raise UnknownNameError("option", name, hints)
        found[name] = _convert(name, text, hints[field])
    return found


def options_class(driver: str) -> type | None:
    """Return the options class of a registered driver; None if it has none."""
    return getattr(load_driver(driver), "Options", None)


def driver_options(driver: str) -> tuple[OptionHelp, ...]:
    """Return the options of a registered driver, such as "damiao", in the order of declaration."""
    kind = options_class(driver)
    return () if kind is None else describe_options(kind)


def describe_options(kind: type) -> tuple[OptionHelp, ...]:
    """Return the options of a dataclass in the order of their fields, with the docstring under each field."""
    docs = {name: doc for base in reversed(kind.__mro__) for name, doc in _field_docs(base)}
    hints = _hints(kind)
    fields = dataclasses.fields(typing.cast("Any", kind))
    return tuple(
        OptionHelp(name=f.name, type=_noun(hints[f.name]), default=_default(f), help=docs.get(f.name, ""))
        for f in fields
    )


def per_joint[T](name: str, values: tuple[T, ...], joints: int, default: Sequence[T]) -> tuple[T, ...]:
    """Return one value per joint: `default` if there are no values, and a single value for every joint.

    Raises:
        InvalidValueError: If the number of values is neither 0, 1 nor `joints`.
    """
    if not values:
        return tuple(default)
    if len(values) not in (1, joints):
        raise InvalidValueError(name, values, f"one value, or {joints} values in the order of the joints")
    return values * joints if len(values) == 1 else values


def _hints(kind: type) -> dict[str, Any]:
    """Return field name -> annotation of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(typing.cast("Any", kind))}


def _parts(text: str) -> list[str]:
    """Return the non-empty parts between the commas of a text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _convert(name: str, text: str, hint: Any) -> object:
    """Return a text as a value of type `hint`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return tuple(_convert(name, part, arguments[0]) for part in _parts(text))
    if origin is Mapping:
        pairs = [[word.strip() for word in part.partition("=")] for part in _parts(text)]
        if not all(key and equals for key, equals, _ in pairs):
            raise InvalidValueError(name, text, _noun(hint))
        return {key: value for key, _, value in pairs}
    if hint is bool:
        if text.lower() not in (*TRUE, *FALSE):
            raise InvalidValueError(name, text, _noun(hint))
        return text.lower() in TRUE
    try:
        # CAN ids are commonly written in hexadecimal.
        return int(text, 0) if hint is int else float(text) if hint is float else text
    except ValueError:
        raise InvalidValueError(name, text, _noun(hint)) from None


def _matches(value: object, hint: Any) -> bool:
    """Whether a value has the type `hint`; an integer is a number, a truth value is not."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_matches(one, arguments[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(isinstance(one, str) for pair in value.items() for one in pair)
    if hint in (int, float):
        kind = numbers.Integral if hint is int else numbers.Real
        return not isinstance(value, bool) and isinstance(value, kind)
    return not isinstance(hint, type) or isinstance(value, hint)


def _noun(hint: Any) -> str:
    """Return what a value of type `hint` is, for messages."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        *others, last = map(str, arguments)
        return f"{', '.join(others)} or {last}"
    if origin is tuple:
        one = arguments[0]
        return f"a tuple of {NOUNS[one]}s" if one in NOUNS else f"a tuple of {_noun(one)}"
    if origin is Mapping:
        return "pairs of name=value"
    if hint is bool:
        return "true or false"
    return NOUNS[hint] if hint is str else f"a {NOUNS[hint]}"


def _default(field: dataclasses.Field[Any]) -> object:
    """Return a field's default value; None if it is required."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _field_docs(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of each field that a class declares itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):
        return
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    for field, doc in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(doc, ast.Expr):
            if isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str):
                yield field.target.id, inspect.cleandoc(doc.value.value)
