"""The system calls that crash safety depends on: recorded in order, or interrupted by a crash before one of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CALLS = ("fsync", "fdatasync", "rename", "replace", "unlink", "rmdir")
"""Functions of `os` that order writes or remove data."""

CRASHED = 77
"""Exit status of a child process that crashed on purpose."""


class Call(NamedTuple):
    """One call of one of these functions."""

    name: str
    path: str
    target: str = ""


def _path(argument: Any, dir_fd: int | None) -> str:
    """Return the path that a call's first argument refers to."""
    if isinstance(argument, int):
        return os.readlink(f"/proc/self/fd/{argument}")
    folder = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
    return os.path.join(folder, os.fspath(argument))


@contextmanager
def observed(before: Callable[[Call], None]) -> Iterator[None]:
    """Call `before` with every call of these functions before it is executed."""

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *args: Any, **options: Any) -> Any:
            target = os.fspath(args[0]) if name in ("rename", "replace") else ""
            before(Call(name, _path(first, options.get("dir_fd")), target))
            return function(first, *args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Yield the list of calls, which is filled while the block runs."""
    calls: list[Call] = []
    with observed(calls.append):
        yield calls


def crash_before(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child process that exits before its call number `step`; return False if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork in a process with threads
        child = os.fork()
    if not child:
        status, left = 1, step

        def count(_: Call) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(CRASHED)

        try:
            with observed(count):
                action()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, CRASHED), f"the child exited with status {status}"
    return status == CRASHED


def tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
