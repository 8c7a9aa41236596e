"""Damaged files: the same inputs for every parser. Each must give one line or the unchanged meaning, in bounded memory.

`damaged_json(valid)` derives damaged versions of a valid JSON document; `unusual_paths(folder)` creates what is not a
regular file. `check_parser` calls a parser with all of them.
"""

from __future__ import annotations

import copy
import json
import os
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from waldo.errors import WaldoError

WRONG_VALUES: tuple[Any, ...] = (
    None, True, -1, 0.5, 10**400, 1e308, "", "text\nwith a line break", [], {}, [1, "a", None], {"a": {"b": []}}
)  # fmt: skip
"""Values of another type or range than a parser expects."""

HUGE = tuple(f" = {value!r:.40}" for value in (10**400, 1e308))
"""Ends of the names of files with values that may fill the memory; tracing the memory of every file takes minutes."""

LONG_LIST = 100

MEMORY_FACTOR = 10
"""Maximum memory of a parser as a multiple of the file's size."""

MEMORY_BASE = 5_000_000
"""Memory that a parser may use for any file: imported modules, caches [bytes]."""


def raw_contents(valid: bytes) -> dict[str, bytes]:
    """Return name -> content of files that are damaged as a whole."""
    return {
        "empty": b"",
        "zeros": bytes(1000),
        "random": bytes(range(256)) * 40,
        "truncated": valid[: len(valid) // 2],
        "doubled": valid + valid,
        "utf-16": valid.decode().encode("utf-16"),
        "latin-1": "{\"é\": 1}".encode("latin-1"),
        "null byte": valid.replace(b":", b":\0", 1),
        "deep lists": b"[" * 100_000,
        "deep mappings": b'{"a":' * 100_000,
        "deep and closed": b"[" * 100_000 + b"]" * 100_000,
        "not a number": b'{"a": NaN, "b": -Infinity}',
        "long number": b'{"a": ' + b"9" * 100_000 + b"}",
        "huge": b'{"a": "' + b"x" * 20_000_000 + b'"}',
        "many lists": b"[" + b"[]," * 60_000 + b"[]]",
        "yaml aliases": b"a: &a [x, x, x]\n" + b"".join(
            b"%c: &%c [*%c, *%c, *%c]\n" % (n, n, n - 1, n - 1, n - 1) for n in range(ord("b"), ord("z"))
        ),
        "yaml tag": b"!!python/object/apply:os.system ['false']",
    }  # fmt: skip


def damaged_json(valid: Any) -> Iterator[tuple[str, bytes]]:
    """Yield name and content: damaged as a whole, and with each value replaced or removed in turn."""
    yield from raw_contents(json.dumps(valid).encode()).items()
    for path in list(_paths(valid)):
        for wrong in WRONG_VALUES:
            changed = copy.deepcopy(valid)
            if not path:
                changed = wrong
            else:
                _parent(changed, path)[path[-1]] = wrong
            yield f"{path} = {wrong!r:.40}", json.dumps(changed).encode()
        if path:
            changed = copy.deepcopy(valid)
            del _parent(changed, path)[path[-1]]
            yield f"{path} removed", json.dumps(changed).encode()


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    # Of a long list, such as a histogram, the first and the last item stand for all.
    for key, inner in items if len(items) <= LONG_LIST else (items[0], items[-1]):
        yield from _paths(inner, (*at, key))


def _parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def unusual_paths(folder: Path) -> dict[str, Path]:
    """Return name -> path of entries that are not regular files, created in `folder`."""
    fifo, directory, loop = folder / "fifo", folder / "directory", folder / "loop"
    os.mkfifo(fifo)
    directory.mkdir()
    loop.symlink_to(loop)
    return {
        "missing": folder / "missing",
        "fifo": fifo,
        "directory": directory,
        "loop of links": loop,
        "endless": Path("/dev/zero"),
        "below a file": Path("/dev/null") / "file",
    }


def in_place_of(file: Path, work: Callable[[], object]) -> Callable[[Path], object]:
    """Return a parser that links a file to the damaged one and then works with it."""
    file.parent.mkdir(parents=True, exist_ok=True)

    def parse(damaged: Path) -> object:
        file.unlink(missing_ok=True)
        file.symlink_to(damaged)
        return work()

    return parse


def check_parser(folder: Path, valid: Any, parse: Callable[[Path], object]) -> dict[str, str]:
    """Parse every damaged file; return name -> message of the refused ones.

    A parser either raises a WaldoError of one line or returns a result, which is the message if it is text. Any other
    exception, a message of several lines, and memory beyond `MEMORY_FACTOR` times the file's size fail the test.
    """
    messages: dict[str, str] = {}
    path = folder / "damaged"
    path.write_text(json.dumps(valid))
    parse(path)  # imports modules, and shows that the valid document is accepted
    for name, content in damaged_json(valid):
        path.write_bytes(content)
        messages |= _parse(name, path, len(content), parse)
    for name, unusual in unusual_paths(folder).items():
        messages |= _parse(name, unusual, 0, parse)
    return messages


def _parse(name: str, path: Path, size: int, parse: Callable[[Path], object]) -> dict[str, str]:
    peak, is_traced = 0, name.endswith(HUGE) or not name.startswith("(")
    if is_traced:
        tracemalloc.start()
    try:
        result = parse(path)
        message = result if isinstance(result, str) else None
    except WaldoError as error:
        message = str(error)
    except BaseException as error:
        pytest.fail(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        if is_traced:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak <= MEMORY_FACTOR * size + MEMORY_BASE, f"{name}: {peak} bytes of memory for {size} bytes"
    if message is None:
        return {}
    assert "\n" not in message, name
    assert len(message) < 1000, name
    return {name: message}


def huge_jpeg() -> bytes:
    """Return a JPEG whose header claims 2^30 pixels."""
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 0x8000, 0x8000)
    return bytes(jpeg)
