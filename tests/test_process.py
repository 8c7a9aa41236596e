"""Signals that ask a process to exit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

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
