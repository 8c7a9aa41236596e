"""Signals that ask a process to exit."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from waldo.process import until_signaled


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the signal handlers after the test."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sets_the_flag_and_a_second_one_would_kill(number: signal.Signals) -> None:
    done = until_signaled()
    assert not done()
    os.kill(os.getpid(), number)
    assert done()
    assert signal.getsignal(number) is signal.SIG_DFL


ARENAS = """
import ctypes, sys, threading
from waldo.process import limit_arenas
if len(sys.argv) > 2:
    limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""
"""Writes what the C library states about its arenas; with a second argument, they are limited."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(
    ("limited", "variable", "fewest", "most"), [(False, "", 3, 99), (True, "", 1, 2), (True, "5", 3, 5)]
)
def test_threads_share_two_arenas(tmp_path: Path, limited: bool, variable: str, fewest: int, most: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    environment |= {"MALLOC_ARENA_MAX": variable} if variable else {}
    file = tmp_path / "arenas.xml"
    subprocess.run([sys.executable, "-c", ARENAS, str(file), *["limited"] * limited], env=environment, check=True)
    assert fewest <= file.read_text().count("<heap nr=") <= most
