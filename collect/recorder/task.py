"""The topic `task`: the attributes of the next episodes, as JSON, or an instruction as plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from waldo.errors import InvalidValueError

MAX_LENGTH = 65_536
"""Longest message [characters]."""

MAX_INSTRUCTION = 2_000
"""Longest instruction [characters]."""


def parse_task(text: str) -> Mapping[str, Any]:
    """Return the attributes of a message; an instruction alone becomes the attribute `task`.

    Characters that UTF-8 cannot represent are replaced.

    Raises:
        InvalidValueError: If the message is too long or nested too deeply, or contains a number that is not finite.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidValueError("the length of the task", len(text), f"at most {MAX_LENGTH} characters")
    try:
        task = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidValueError("the task", text[:20] + "...", "JSON that is not nested so deeply") from None
    except ValueError:
        task = text
    attributes = task if isinstance(task, dict) else {"task": task if isinstance(task, str) else text}
    length = len(str(attributes.get("task", "")))
    if length > MAX_INSTRUCTION:
        raise InvalidValueError("the length of the task", length, f"at most {MAX_INSTRUCTION} characters")
    return {_encodable(str(key)): _clean(value) for key, value in attributes.items()}


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidValueError("a number of the task", name, "a finite number")


def _clean(value: Any) -> Any:
    """Return a JSON value whose texts can be encoded."""
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_encodable(str(key)): _clean(one) for key, one in value.items()}
    return value


def _encodable(text: str) -> str:
    """Return a text in which lone surrogates are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
