"""A driver's options: a frozen dataclass a driver, built from texts ("key=value") or from values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError, UnknownNameError

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """Return name -> value of options such as "channel=can0"."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [key + equals + value for key, equals, value in pairs if not (key and equals)]:
        raise InvalidValueError("option", wrong[0], "name=value")
    return {key: value for key, _, value in pairs}


def build_options[T](kind: type[T], given: Mapping[str, object]) -> T:
    """Return the options `kind`, a dataclass whose fields are str, int, float or bool; texts are converted.

    An unknown name is answered with the nearest that exists, an impossible value with what was expected.
    """
    types = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(typing.cast("Any", kind))]
    values: dict[str, object] = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError("option", name, known)
        values[name] = _convert(name, value, types[name])
    return kind(**values)


def _convert(name: str, value: object, kind: Any) -> object:
    if not isinstance(value, str) or kind is str:
        return value
    if kind is bool:
        if value.lower() not in (*TRUE, *FALSE):
            raise InvalidValueError(name, value, "true or false")
        return value.lower() in TRUE
    if kind is int:
        return int(_number(name, value, whole=True))
    return _number(name, value) if kind is float else value


def _number(name: str, text: str, *, whole: bool = False) -> float:
    """Return a number; whole ones may be hexadecimal (0x11), as CAN ids are written."""
    try:
        return int(text, 0) if whole else float(text)
    except ValueError:
        raise InvalidValueError(name, text, "a whole number" if whole else "a number") from None


def numbers(name: str, text: str | float, joints: int, default: Sequence[float]) -> NDArray[np.float64]:
    """Return one number a joint, shape (joints,), from "" (the default), "5" (all the same) or "1, 2, 3"."""
    if isinstance(text, int | float):
        return np.full(joints, float(text))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        return np.array(default, dtype=float)
    found = [_number(name, part) for part in parts]
    if len(found) not in (1, joints):
        raise InvalidValueError(name, text, f"one number, or {joints} numbers with commas between")
    return np.array(found * joints if len(found) == 1 else found)


def whole_numbers(name: str, text: str, joints: int, default: Sequence[int]) -> tuple[int, ...]:
    """Return one whole number a joint from "" (the default) or "0x01, 0x02, 3"."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        return tuple(default)
    if len(parts) != joints:
        raise InvalidValueError(name, text, f"{joints} whole numbers with commas between")
    return tuple(int(_number(name, part, whole=True)) for part in parts)


def words(name: str, text: str, joints: int, default: Sequence[str]) -> tuple[str, ...]:
    """Return one word a joint from "" (the default), "rs03" (all the same) or "rs03, rs00"."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        return tuple(default)
    if len(parts) not in (1, joints):
        raise InvalidValueError(name, text, f"one word, or {joints} words with commas between")
    return tuple(parts * joints if len(parts) == 1 else parts)
