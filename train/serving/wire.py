"""The wire format of openpi: a message is a msgpack map whose arrays are maps of bytes, type and shape.

The format is that of `openpi_client.msgpack_numpy` (Physical Intelligence, openpi-client 0.1.2): an array is
`{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [n, ...]}`, a scalar `{b"__npgeneric__": True,
b"data": value, b"dtype": "<f4"}`. Nothing is ever unpickled, and only numbers are accepted as array elements.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from waldo.errors import WaldoError

ARRAY, SCALAR, DATA, DTYPE, SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"

KINDS = "biuf"
"""Kinds of array elements: booleans, integers, unsigned integers and floats."""

MAX_BYTES = 64 * 1024 * 1024
"""Largest message [bytes]: four images of 1920x1080 and room for more."""

MAX_DIMENSIONS = 6
"""Largest number of axes of an array."""


class WireError(WaldoError):
    """A message that does not have the format."""

    exit_code = 3


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as bytes.

    Args:
        message: Texts, numbers, lists, maps and arrays of numbers.

    Raises:
        WireError: If it contains anything else.
    """
    try:
        return bytes(msgpack.packb(message, default=_pack_array) or b"")
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"a message cannot be packed: {error}") from error


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in KINDS:
        raise TypeError(f"an array has elements of type {value.dtype}, expected numbers")
    if isinstance(value, np.ndarray):
        return {ARRAY: True, DATA: value.tobytes(), DTYPE: value.dtype.str, SHAPE: value.shape}
    if isinstance(value, np.generic):
        return {SCALAR: True, DATA: value.item(), DTYPE: value.dtype.str}
    raise TypeError(f"a value is of type {type(value).__name__}, expected text, numbers, lists, maps or arrays")


def unpack(data: bytes) -> dict[str, Any]:
    """Return the message that bytes contain; its arrays are read-only.

    Raises:
        WireError: If the bytes are not a map in the format.
    """
    if len(data) > MAX_BYTES:
        raise WireError(f"a message has {len(data)} bytes, at most {MAX_BYTES} are accepted")
    try:
        message = msgpack.unpackb(data, object_hook=_unpack_array)
    except WireError:
        raise
    except Exception as error:  # msgpack raises various types for bytes that are not msgpack
        raise WireError(f"a message is not msgpack: {type(error).__name__}: {error}".rstrip(": ")) from error
    if not isinstance(message, dict):
        raise WireError(f"a message is a {type(message).__name__}, expected a map")
    if bad := [key for key in message if not isinstance(key, str)]:
        raise WireError(f"a message has the key {bad[0]!r}, expected texts as keys")
    return message


def _unpack_array(found: dict[Any, Any]) -> Any:
    if ARRAY in found:
        return _array(found)
    if SCALAR in found:
        try:
            return _dtype(found.get(DTYPE)).type(found.get(DATA))
        except (TypeError, ValueError, OverflowError) as error:
            raise WireError(f"a number cannot be read: {error}") from error
    return found


def _array(found: dict[Any, Any]) -> NDArray[Any]:
    data, shape, dtype = found.get(DATA), found.get(SHAPE), _dtype(found.get(DTYPE))
    if not isinstance(data, bytes):
        raise WireError(f"an array has data of type {type(data).__name__}, expected bytes")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise WireError(f"an array has the shape {shape!r}, expected a list of at most {MAX_DIMENSIONS} sizes")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise WireError(f"an array has the shape {shape!r}, expected sizes from 0")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise WireError(f"an array of shape {shape} and type {dtype} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(text: Any) -> np.dtype[Any]:
    """Return a type of numbers."""
    if isinstance(text, str) and len(text) <= 4:
        try:
            dtype = np.dtype(text)
        except (TypeError, ValueError, SyntaxError):  # numpy parses a text with a comma as Python
            dtype = None
        if dtype is not None and dtype.kind in KINDS:
            return dtype
    raise WireError(f"an array has elements of type {text!r}, expected numbers such as '<f4' or '|u1'")
