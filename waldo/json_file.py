"""Reading of small JSON files that a user may have damaged or mistaken for another file.

Whatever a path leads to, the result is a JSON value or a `FileError` of one line, in bounded time and memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from waldo.errors import FileError
from waldo.files import format_bytes, read_regular

MAX_BYTES = 200_000
"""Maximum size of a file [bytes]; files of motors, calibrations and states have a few kilobytes.

A document of nothing but empty lists takes 20 times its size in memory.
"""

SHOWN = 60
"""Maximum length of a value in a message."""


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file, which contains neither NaN nor infinity.

    Raises:
        FileError: If the path is no regular file of at most `max_bytes`, or is not JSON in UTF-8.
    """
    try:
        data = read_regular(path, max_bytes + 1)
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise FileError(path, f"cannot be read ({text})") from error
    if len(data) > max_bytes:
        raise FileError(path, f"is larger than {format_bytes(max_bytes)}", "pass the path of another file")
    try:
        return parse_json(data, parse_constant=_refuse)
    except ValueError as error:
        raise FileError(path, f"is not usable JSON ({error})") from error


def parse_json(data: bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Return the value of JSON in UTF-8.

    Args:
        data: The text.
        parse_constant: Called with NaN, Infinity or -Infinity; by default they are numbers.

    Raises:
        ValueError: If the text is anything else, however damaged; its text is one line.
    """
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(shown(error, 200)) from None


def shown(value: object, length: int = SHOWN) -> str:
    """Return a value of a file for a message: on one line and not longer than `length`."""
    text = " ".join((str(value) if isinstance(value, str | Exception) else repr(value)).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")
